import { afterEach, describe, expect, it } from 'vitest';
import { poolKinds } from './pools/subjects.js';

const completions = '/v1/completions';
const whole = { model: 'm', prompt: 'a question', max_tokens: 4 };
const requests = [
  { name: 'one prompt', body: whole },
  { name: 'a list of prompts', body: { ...whole, prompt: ['a question', 'another'] } },
  { name: 'several choices', body: { ...whole, n: 2 } },
];

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

describe.each(poolKinds)('a decode server of %s that answers 200 with no JSON', (_, make) => {
  it.each(requests)('ends $name with a typed error', async ({ body }) => {
    const subject = await make({ tokens: 4 });
    stops.push(() => subject.stop());
    subject.fail('decode', () => 'no-json');
    const response = await subject.running.post(completions, body);
    const answer = await response.text();
    expect(response.status).toBe(502);
    expect(JSON.parse(answer)).toMatchObject({ error: { type: 'server_error' } });
    expect(subject.held()).toBe(0);
    subject.fail('decode', () => undefined);
    expect((await subject.running.post(completions, body)).status).toBe(200);
  });
});
