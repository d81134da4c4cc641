import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { poolKinds } from './pools/subjects.js';

const completions = '/v1/completions';
const whole = { model: 'm', prompt: 'secret question', max_tokens: 4 };
const requests = [
  { name: 'one prompt', body: whole },
  { name: 'a list of prompts', body: { ...whole, prompt: ['secret question', 'secret too'] } },
  { name: 'several choices', body: { ...whole, n: 2 } },
];

const stops: (() => Promise<void>)[] = [];
const unhandled: unknown[] = [];
const note = (error: unknown) => unhandled.push(error);
beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', note);
});
afterEach(async () => {
  process.off('unhandledRejection', note);
  for (const stop of stops.splice(0).reverse()) await stop();
});

describe.each(poolKinds)('a decode server of %s that answers 200 with no JSON', (_, make) => {
  it.each(requests)('ends $name with a typed error and nothing else', async ({ body }) => {
    const subject = await make({ tokens: 4 });
    stops.push(() => subject.stop());
    subject.fail('decode', () => 'no-json');
    const response = await subject.running.post(completions, body);
    const answer = await response.text();
    expect(response.status).toBe(502);
    expect(JSON.parse(answer)).toMatchObject({ error: { type: 'server_error' } });
    expect(subject.held()).toBe(0);
    // What is logged has nothing of the prompt, and nothing of the broken answer either.
    const logged = subject.running.errors.map((error) =>
      error instanceof Error ? error.stack : String(error),
    );
    expect(logged.join('\n')).not.toMatch(/secret|html/);
    subject.fail('decode', () => undefined);
    expect((await subject.running.post(completions, body)).status).toBe(200);
    // Rejections are reported after the microtasks that could still handle them.
    await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).toEqual([]);
  });
});
