import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createGateway, ErrorBody } from '../src/index.js';
import { EchoBackend } from './echo-backend.js';
import { frames, post } from './http.js';

const fields = [
  'model',
  'prompt',
  'messages',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'top_k',
  'min_p',
  'n',
  'seed',
  'stop',
  'stream',
  'stream_options',
  'logprobs',
  'top_logprobs',
  'echo',
  'best_of',
  'tools',
  'response_format',
  'logit_bias',
  '__proto__',
  'constructor',
];

const plausible = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    'letters',
    'a',
    '',
    0,
    1,
    2,
    0.5,
    -1,
    1e308,
    [],
    {},
    ['a', 'b'],
    [97, 98],
  ),
  fc.constant([{ role: 'user', content: 'a' }]),
  fc.jsonValue({ maxDepth: 3 }),
);
const body = fc.dictionary(fc.constantFrom(...fields), plausible, { maxKeys: 8 });

it('answers any body with a completion or an OpenAI-shaped error below 500', {
  timeout: 60_000,
}, async () => {
  const errors: unknown[] = [];
  const gateway = createGateway({ backend: new EchoBackend(), onError: (error) => errors.push(error) });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('/v1/completions', '/v1/chat/completions'),
      body,
      async (path, value) => {
        const start =
          path === '/v1/completions' ? { prompt: 'a' } : { messages: [{ role: 'user', content: 'a' }] };
        const response = await post(gateway, path, JSON.stringify({ ...start, ...value }));
        if (response.status === 200) {
          if (response.headers.get('content-type')?.startsWith('text/event-stream')) await frames(response);
          else await response.json();
          return;
        }
        expect([400, 404]).toContain(response.status);
        expect(ErrorBody.safeParse(await response.json()).success).toBe(true);
      },
    ),
    { seed: 11, numRuns: 3000 },
  );
  expect(errors).toEqual([]);
  expect(gateway.requestsInFlight).toBe(0);
});

it('answers any text as a body', async () => {
  const gateway = createGateway({ backend: new EchoBackend() });
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 40 }), async (text) => {
      expect((await post(gateway, '/v1/completions', text)).status).toBe(400);
    }),
    { seed: 12, numRuns: 1000 },
  );
});
