import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { upstreamError } from '../errors.js';
import type { BodyConsumer, BodySource } from '../upstream/leg.js';
import type { AnswerSink } from './answer-sink.js';
import { type RelayResult, relayStream } from './relay-stream.js';
import { eventData, SseFrames } from './sse-frames.js';

/** Relays pieces, with an end or an error after them. */
async function relay(
  pieces: readonly Uint8Array[],
  options: { choices?: number; hideUsage?: boolean; error?: unknown; isSlow?: boolean } = {},
): Promise<{ text: string; result: RelayResult; writes: string[]; aborted: boolean }> {
  const written: Buffer[] = [];
  let aborted = false;
  let resume: () => void = () => undefined;
  const source: BodySource = {
    consume(consumer: BodyConsumer) {
      let at = 0;
      const pump = () => {
        while (at < pieces.length) if (!consumer.data(pieces[at++]!)) return;
        if (aborted) return;
        if (options.error === undefined) consumer.end();
        else consumer.error(options.error);
      };
      resume = pump;
      pump();
    },
    resume: () => resume(),
    abort: () => {
      aborted = true;
    },
  };
  let onDrain: () => void = () => undefined;
  const sink: AnswerSink = {
    start: () => undefined,
    write(chunk) {
      written.push(Buffer.from(chunk));
      if (options.isSlow === true) setImmediate(() => onDrain());
      return options.isSlow !== true;
    },
    end: (chunk) => void (chunk === undefined || written.push(Buffer.from(chunk))),
    onDrain: (callback) => {
      onDrain = callback;
    },
  };
  const result = await relayStream(source, sink, {
    requestId: 'id',
    choices: options.choices ?? 1,
    hideUsage: options.hideUsage ?? false,
    onFirstByte: () => undefined,
    progress: { pieces: 0 },
  });
  return { text: Buffer.concat(written).toString('utf8'), writes: written.map(String), result, aborted };
}

const content = (text: string) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: text }, finish_reason: null }] })}\n\n`;
const finish = 'data: {"choices":[{"index":0,"delta":{},"finish_reason": "stop"}]}\n\n';
const usage =
  'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}\n\n';
const done = 'data: [DONE]\n\n';
const bytes = (text: string) => [Buffer.from(text)];
const lastError = (text: string) => {
  expect(text.endsWith(done)).toBe(true);
  const events = text.split('\n\n').filter((event) => event !== '');
  return JSON.parse(events.at(-2)!.replace(/^data: /, '')) as { error: { message: string; code: string } };
};

describe('a relayed stream', () => {
  const whole = `${content('größe 🙂\n\n"finish_reason":"x" [DONE]')}: ping\n\n${finish}${usage}${done}`;

  it('passes every byte on, wherever it was cut and however slow the reader is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(Buffer.byteLength(whole))), fc.boolean(), async (cuts, isSlow) => {
        const all = Buffer.from(whole);
        const at = [0, ...cuts.toSorted((a, b) => a - b), all.byteLength];
        const pieces = at
          .slice(1)
          .flatMap((end, index) => (end > at[index]! ? [all.subarray(at[index]!, end)] : []));
        const { text, result } = await relay(pieces, { isSlow });
        expect(text).toBe(whole);
        expect(result).toMatchObject({
          outcome: 'ok',
          usage: { promptTokens: 7, completionTokens: 2, cachedTokens: 4 },
        });
      }),
      { seed: 11, numRuns: 200 },
    );
  });

  it('passes whole events only', async () => {
    const { writes } = await relay([...Buffer.from(whole)].map((byte) => Buffer.from([byte])));
    for (const write of writes) expect(write.endsWith('\n\n')).toBe(true);
  });

  it('understands lines that end in CRLF', async () => {
    const text = whole.replaceAll('\n\n', '\r\n\r\n').replace('größe 🙂\r\n\r\n', '');
    const pieces = [...Buffer.from(text)].map((byte) => Buffer.from([byte]));
    expect(await relay(pieces)).toMatchObject({ text, result: { outcome: 'ok' } });
  });

  it('takes the usage out when the client did not ask for it', async () => {
    const { text, result } = await relay(bytes(whole), { hideUsage: true });
    expect(text).toBe(whole.replace(usage, ''));
    expect(result.usage?.completionTokens).toBe(2);
  });

  it.each([
    ['in the middle of an event', content('a') + content('b').slice(0, 30)],
    ['after an event', content('a')],
    ['before anything', ''],
  ])('that ends %s ends with an error and [DONE]', async (_, text) => {
    const { text: sent, result } = await relay(bytes(text));
    expect(lastError(sent).error.code).toBe('upstream_cut');
    for (const event of sent.split('\n\n').slice(0, -2)) JSON.parse(event.slice(6));
    expect(result).toMatchObject({ outcome: 'failed', code: 'serving/upstream-cut' });
  });

  it('that says [DONE] without a finish reason ends with an error', async () => {
    const { text, result } = await relay(bytes(content('a') + done));
    expect(lastError(text).error.code).toBe('upstream_cut');
    expect(text.split('[DONE]')).toHaveLength(2);
    expect(result.outcome).toBe('failed');
  });

  it('that is whole but lacks [DONE] gets it', async () => {
    expect(await relay(bytes(content('a') + finish))).toMatchObject({
      text: content('a') + finish + done,
      result: { outcome: 'ok' },
    });
    expect((await relay(bytes(content('a') + finish), { choices: 2 })).result.outcome).toBe('failed');
    expect((await relay(bytes(content('a') + finish + done.trimEnd()))).text).toBe(
      content('a') + finish + done,
    );
  });

  it('that breaks tells with what', async () => {
    const error = upstreamError('reset', 'decode-0', 'the connection broke');
    const { text } = await relay(bytes(content('a')), { error });
    expect(lastError(text).error.message).toContain('decode-0');
  });

  it('passes the error event of a server on and counts as failed', async () => {
    const event =
      'data: {"error":{"object":"error","message":"no memory","type":"x","param":null,"code":500}}\n\n';
    expect(await relay(bytes(content('a') + event + done))).toMatchObject({
      text: content('a') + event + done,
      result: { outcome: 'failed', code: 'serving/upstream-failed' },
    });
    expect((await relay(bytes(content('a') + event))).text).toBe(content('a') + event + done);
  });

  it.each([
    ['{"object":"error","message":"no memory","type":"x","param":null,"code":500}', 'no memory', 500],
    ['{"error":"no memory"}', 'no memory', 502],
    ['{"code":500,"error":{"code":500}}', 'the server of the stream answered with status 502', 502],
  ])('nests the error %s', async (data, message, code) => {
    const { text, result } = await relay(bytes(`${content('a')}data: ${data}\n\n${done}`));
    expect(lastError(text).error).toMatchObject({ message, code });
    expect(result).toMatchObject({ outcome: 'failed', code: 'serving/upstream-failed' });
  });

  it('takes no member that is null for an error', async () => {
    const text = content('a').replace('{', '{"error":null,') + finish + done;
    expect(await relay(bytes(text))).toMatchObject({ text, result: { outcome: 'ok' } });
  });

  it('ends with [DONE], whatever a server says after it', async () => {
    const whole = content('a') + finish + done;
    expect((await relay(bytes(`${whole}: ping\n\n`))).text).toBe(whole);
    expect(await relay([Buffer.from(whole), Buffer.from(': ping\n\n')])).toMatchObject({
      text: whole,
      aborted: true,
    });
  });

  it('repairs an error that was written as a Python dictionary, without an empty line', async () => {
    const { text } = await relay(bytes(`${content('a')}data: {'error': 'decode worker is gone'}`));
    expect(lastError(text).error.message).toContain('decode worker is gone');
  });

  it('does not take the text of an answer for an error', async () => {
    const text = content('{"error":{"message":"x"}} "error"') + finish + done;
    expect(await relay(bytes(text))).toMatchObject({ text, result: { outcome: 'ok' } });
  });

  it('is cut off when an event never ends', async () => {
    const piece = Buffer.alloc(1024 * 1024, 'x');
    const { text, aborted } = await relay(Array.from({ length: 10 }, () => piece));
    expect(aborted).toBe(true);
    expect(lastError(text).error.code).toBe('upstream_bad_answer');
  });
});

describe('SseFrames', () => {
  it('finds the events however the bytes are cut', () => {
    const line = fc.string({ unit: 'grapheme' }).map((text) => text.replace(/[\r\n]/g, ''));
    fc.assert(
      fc.property(
        fc.array(line, { minLength: 1 }),
        fc.integer({ min: 1, max: 7 }),
        fc.boolean(),
        (lines, step, crlf) => {
          const text = lines.map((data) => `data: ${data}${crlf ? '\r\n\r\n' : '\n\n'}`).join('');
          const all = Buffer.from(text);
          const frames = new SseFrames();
          const found: (string | undefined)[] = [];
          for (let at = 0; at < all.byteLength; at += step) {
            found.push(...frames.push(all.subarray(at, at + step)).map(eventData));
          }
          expect(found).toEqual(lines.map((data) => Buffer.from(data).toString('utf8')));
        },
      ),
      { seed: 12, numRuns: 200 },
    );
  });

  it('joins data lines and skips comments', () => {
    expect(eventData('event: x\ndata: a\ndata:b\nid: 1')).toBe('a\nb');
    expect(eventData(': ping')).toBeUndefined();
  });
});
