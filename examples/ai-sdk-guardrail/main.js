import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { guardrailMiddleware } from '@moestack/detect/ai-sdk';
import { generateText, streamText, wrapLanguageModel } from 'ai';
import { houseRules, noConnectives } from './policy.js';
import { startServer } from './server.js';

const own = process.env.MOESTACK_URL === undefined ? await startServer() : undefined;
const provider = createOpenAICompatible({ name: 'moestack', baseURL: process.env.MOESTACK_URL ?? own.url });

const guarded = (guardrail, options) =>
  wrapLanguageModel({
    model: provider.completionModel('tiny-moe'),
    middleware: guardrailMiddleware(guardrail, options),
  });
const settings = { model: guarded(houseRules), temperature: 0, maxOutputTokens: 32, maxRetries: 0 };

function tell(name, { text, finishReason, providerMetadata, request }) {
  const { action, findings, source } = providerMetadata.moestack;
  const found = [...new Set(findings.map(({ policy, name }) => `${policy} ${name}`))].join(', ') || 'nothing';
  const asked = request?.body?.prompt;
  console.log(`${name}: ${action} on ${source}, found ${found}, ended by ${finishReason}`);
  console.log(`  the model was ${asked === undefined ? 'not asked' : `asked ${JSON.stringify(asked)}`}`);
  console.log(`  ${JSON.stringify(text)}`);
}

try {
  tell('plain', await generateText({ ...settings, prompt: 'It was a dark and stormy night, and' }));
  tell('address', await generateText({ ...settings, prompt: 'Write to ann@example.org about the castle' }));
  tell('card', await generateText({ ...settings, prompt: 'My card is 4111 1111 1111 1111, and' }));
  const strict = guarded(noConnectives, { input: false });
  tell(
    'denied',
    await generateText({ ...settings, model: strict, prompt: 'The people of the United States' }),
  );
  const stream = streamText({ ...settings, prompt: 'Alice was beginning to' });
  let pieces = 0;
  for await (const _ of stream.textStream) pieces++;
  const { text, finishReason, providerMetadata, request } = stream;
  tell(`stream of ${pieces}`, {
    text: await text,
    finishReason: await finishReason,
    providerMetadata: await providerMetadata,
    request: await request,
  });
} finally {
  await own?.stop();
}
