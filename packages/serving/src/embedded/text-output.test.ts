import { fileURLToPath } from 'node:url';
import { loadTokenizer } from '@moestack/model';
import { tinyMoe } from '@moestack/tiny-moe';
import { describe, expect, it } from 'vitest';
import type { BackendEvent } from '../backend.js';
import { TextOutput, type TextOutputOptions } from './text-output.js';

const tokenizer = await loadTokenizer(fileURLToPath(tinyMoe));
const prompt = tokenizer.encode('Hello');
const logprobs = (token: number) => ({
  logprob: -token,
  topTokens: Int32Array.of(token),
  topLogprobs: Float64Array.of(-token),
});

/** Feeds the tokens of a text, and ends where the output says so. */
async function run(text: string, options: Partial<TextOutputOptions> = {}) {
  const output = new TextOutput({
    tokenizer,
    prompt,
    stop: [],
    promptOnly: false,
    promptText: undefined,
    scoresPrompt: false,
    ...options,
  });
  const events: BackendEvent[] = [];
  const drain = async () => {
    for (;;) {
      const event = await output.next();
      events.push(event);
      if (event.type === 'finish') return;
    }
  };
  const drained = drain();
  let reason: 'stop' | 'length' = 'length';
  for (const token of tokenizer.encode(text)) {
    const stopped = output.onToken(token, logprobs(token));
    await Promise.resolve();
    if (!stopped) continue;
    reason = 'stop';
    break;
  }
  output.onEnd(reason);
  await drained;
  const deltas = events.filter((event) => event.type === 'delta');
  return {
    events,
    text: deltas.map((delta) => delta.text).join(''),
    tokens: deltas.flatMap((delta) => (delta.logprobs ?? []).map((entry) => entry.token)).join(''),
    finish: events.at(-1) as Extract<BackendEvent, { type: 'finish' }>,
  };
}

describe('TextOutput', () => {
  it('gives back the text of the tokens, whatever characters they split', async () => {
    const text = 'A line — naïve, “quoted” 🙂 end';
    const { text: out, finish } = await run(text);
    expect(out).toBe(text);
    expect(finish).toMatchObject({
      reason: 'length',
      usage: { completionTokens: tokenizer.encode(text).length },
    });
    expect(out).not.toContain('\uFFFD');
  });

  it('cuts before a stop string and leaves out the log-probabilities behind the cut', async () => {
    const { text, tokens, finish } = await run('one two three four', { stop: [' three'] });
    expect(text).toBe('one two');
    expect(finish).toMatchObject({ reason: 'stop', stop: ' three' });
    expect(tokens.startsWith('one two')).toBe(true);
    expect(tokens).not.toContain('three');
  });

  it('reports a log-probability for every token', async () => {
    const text = 'The people — 🙂';
    const { events } = await run(text);
    const ids = events.flatMap((event) =>
      event.type === 'delta' ? (event.logprobs ?? []).map((one) => one.id) : [],
    );
    expect(ids).toEqual([...tokenizer.encode(text)]);
  });

  it('reports the prompt with its log-probabilities before everything else', async () => {
    const output = new TextOutput({
      tokenizer,
      prompt,
      stop: [],
      promptOnly: true,
      promptText: 'Hello',
      scoresPrompt: true,
    });
    for (let position = 1; position < prompt.length; position++) {
      output.onPromptLogprobs(position, logprobs(prompt[position]!));
    }
    expect(output.onToken(5, undefined)).toBe(true);
    output.onEnd('stop');
    const start = (await output.next()) as Extract<BackendEvent, { type: 'start' }>;
    expect(start.promptText).toBe('Hello');
    expect(start.promptLogprobs?.map((entry) => entry.logprob)).toEqual([
      null,
      ...[...prompt].slice(1).map((id) => -id),
    ]);
    expect(await output.next()).toMatchObject({
      type: 'finish',
      reason: 'length',
      usage: { completionTokens: 0 },
    });
  });
});
