import { generateText, simulateReadableStream, streamText, wrapLanguageModel } from 'ai';
import { MockLanguageModelV3 } from 'ai/test';
import { describe, expect, it } from 'vitest';
import { guardrailMiddleware } from '../src/guardrail/ai-sdk.js';
import { createGuardrail, type GuardrailMode } from '../src/guardrail/index.js';

const usage = {
  inputTokens: { total: 3, noCache: 3, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 5, text: 5, reasoning: 0 },
};
const stop = { unified: 'stop' as const, raw: 'stop' };

/** A model that answers with `pieces`, wrapped, and what it was asked. */
function guarded(pieces: string[], mode?: GuardrailMode) {
  const calls: unknown[] = [];
  const model = new MockLanguageModelV3({
    doGenerate: async ({ prompt }) => {
      calls.push(prompt);
      return { content: [{ type: 'text', text: pieces.join('') }], finishReason: stop, usage, warnings: [] };
    },
    doStream: async ({ prompt }) => {
      calls.push(prompt);
      return {
        stream: simulateReadableStream({
          initialDelayInMs: null,
          chunkDelayInMs: null,
          chunks: [
            { type: 'stream-start' as const, warnings: [] },
            { type: 'text-start' as const, id: '1' },
            ...pieces.map((delta) => ({ type: 'text-delta' as const, id: '1', delta })),
            { type: 'text-end' as const, id: '1' },
            { type: 'finish' as const, finishReason: stop, usage },
          ],
        }),
      };
    },
  });
  const guardrail = createGuardrail(
    { name: 'g', words: { list: ['darn'] }, pii: [{ type: 'EMAIL' }] },
    mode === undefined ? {} : { mode },
  );
  return { calls, model: wrapLanguageModel({ model, middleware: guardrailMiddleware(guardrail) }) };
}

async function streamed(pieces: string[], mode?: GuardrailMode, prompt = 'Hello') {
  const { model, calls } = guarded(pieces, mode);
  const result = streamText({ model, prompt });
  const deltas: string[] = [];
  for await (const delta of result.textStream) deltas.push(delta);
  return { deltas, finishReason: await result.finishReason, metadata: await result.providerMetadata, calls };
}

describe('guardrailMiddleware with the AI SDK', () => {
  it('replaces a blocked answer', async () => {
    const { text, finishReason, providerMetadata } = await generateText({
      ...guarded(['darn', ' it']),
      prompt: 'Hello',
    });
    expect([text, finishReason]).toEqual(['This answer was blocked by a content policy.', 'content-filter']);
    expect(providerMetadata?.['moestack']).toMatchObject({
      action: 'blocked',
      findings: [{ policy: 'word', name: 'darn' }],
    });
  });

  it('masks answers and prompts', async () => {
    const { model, calls } = guarded(['write to c@d.org']);
    const { text, finishReason } = await generateText({ model, prompt: 'I am a@b.org' });
    expect([text, finishReason]).toEqual(['write to {EMAIL}', 'stop']);
    expect(JSON.stringify(calls)).toContain('I am {EMAIL}');
  });

  it('refuses a blocked prompt without calling the model', async () => {
    const { model, calls } = guarded(['fine']);
    const { text, finishReason } = await generateText({ model, prompt: 'darn' });
    expect([text, finishReason, calls.length]).toEqual([
      'This request was blocked by a content policy.',
      'content-filter',
      0,
    ]);
    const stream = await streamed(['fine'], undefined, 'darn');
    expect(stream).toMatchObject({
      deltas: ['This request was blocked by a content policy.'],
      finishReason: 'content-filter',
    });
  });

  it('holds a stream back until it can be judged', async () => {
    expect(await streamed(['da', 'rn'])).toMatchObject({
      deltas: ['This answer was blocked by a content policy.'],
      finishReason: 'content-filter',
    });
    // The address is in no single piece.
    expect(await streamed(['write to c@', 'd.o', 'rg'])).toMatchObject({
      deltas: ['write to {EMAIL}'],
      finishReason: 'stop',
    });
  });

  it('lets a stream pass as it comes when it only annotates', async () => {
    const { deltas, finishReason, metadata } = await streamed(['da', 'rn'], 'annotate');
    expect([deltas, finishReason]).toEqual([['da', 'rn'], 'stop']);
    expect(metadata?.['moestack']).toMatchObject({ action: 'annotated' });
  });
});
