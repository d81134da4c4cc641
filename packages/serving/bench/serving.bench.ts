import { createGateway, listen } from '@moestack/serving';
import { createEmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { type BenchCase, defineBench } from '@moestack/tooling/bench';

const newTokens = 64;
const streams = [1, 8, 32];
const prompt = 'The people of the United States';

export default defineBench({
  name: 'serving',
  notes: [
    `Each case: that many concurrent generations of ${newTokens} tokens after a prompt of 6, default model, greedy.`,
    'engine: events read from the backend in this process. http: server-sent events read over a loopback socket by fetch.',
    'One prefill and one decode thread; client, gateway and controller share the main thread.',
  ],
  async groups() {
    const backend = await createEmbeddedBackend({ modelDirectory: tinyMoe, name: 'tiny-moe' });
    const server = await listen(createGateway({ backend }), { port: 0 });
    const { signal } = new AbortController();
    const direct = async () => {
      const events = backend.generate(
        {
          requestId: 'bench',
          model: 'tiny-moe',
          prompt: { type: 'text', text: prompt },
          maxTokens: newTokens,
          sampling: { temperature: 0 },
          stop: [],
        },
        { signal },
      );
      for await (const _ of events);
    };
    const body = JSON.stringify({ prompt, max_tokens: newTokens, temperature: 0, stream: true });
    const overHttp = async () => {
      const response = await fetch(`${server.url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      await response.text();
    };
    const cases = streams.flatMap((count): BenchCase[] => {
      const all = (one: () => Promise<void>) => () => Promise.all(Array.from({ length: count }, one));
      return [
        { name: `engine, ${count} streams`, unit: 'tokens/s', work: count * newTokens, run: all(direct) },
        { name: `http, ${count} streams`, unit: 'tokens/s', work: count * newTokens, run: all(overHttp) },
      ];
    });
    return [
      {
        name: 'concurrent generations',
        rounds: 7,
        cases,
        ratios: streams.map((count) => ({
          name: `http / engine, ${count} streams`,
          numerator: `http, ${count} streams`,
          denominator: `engine, ${count} streams`,
        })),
      },
    ];
  },
});
