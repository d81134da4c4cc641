import { createGuardrail } from '@moestack/detect/guardrail';
import { guardChat } from '@moestack/detect/hono';
import { decodePlan } from '@moestack/placement';
import { createGateway, listen } from '@moestack/serving';
import { createEmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { Hono } from 'hono';
import { readText, writeText } from '../files.js';

const plan = decodePlan(readText('placement.json'));
const ranks = plan.deployment.gpus;
const backend = await createEmbeddedBackend({
  modelDirectory: tinyMoe,
  name: 'tiny-moe',
  decodeRanks: ranks,
  placements: { decode: plan },
});
const guardrail = createGuardrail({
  name: 'house rules',
  pii: [{ type: 'EMAIL' }, { type: 'CREDIT_DEBIT_CARD_NUMBER', mode: 'block' }],
});
const gateway = createGateway({ backend });
const guarded = new Hono();
guarded.use('/v1/chat/completions', guardChat(guardrail));
guarded.all('*', (context) => gateway.fetch(context.req.raw));
const server = await listen({ ...gateway, fetch: (request) => guarded.fetch(request) }, { port: 0 });

const prompts = [
  'It was a dark and stormy night',
  'Write to ann@example.org',
  'My card is 4111 1111 1111 1111',
];
const answers = [];
for (const prompt of prompts) {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'tiny-moe',
      messages: [{ role: 'user', content: prompt }],
      max_tokens: 24,
      temperature: 0,
    }),
  });
  const body = await response.json();
  answers.push({
    prompt,
    status: response.status,
    guardrail: response.headers.get('x-moestack-guardrail'),
    text: body.choices?.[0]?.message.content ?? body.error.message,
  });
}
const [decode] = (await backend.experts()).slice(-1);
const rows = decode.ranks.map(({ computedRows }) => computedRows);
await server.close({ drainSeconds: 5 });
await backend.close();
writeText('answers.json', JSON.stringify({ schemaVersion: 1, ranks, rows, answers }));
console.log(`${ranks} ranks computed ${rows.join(', ')} rows`);
for (const { prompt, status, guardrail, text } of answers)
  console.log(`${JSON.stringify(prompt)}: ${status}, ${guardrail ?? 'let through'}: ${JSON.stringify(text)}`);
