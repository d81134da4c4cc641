import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import {
  ApplyGuardrailCommand,
  type ApplyGuardrailCommandInput,
  type ApplyGuardrailCommandOutput,
  BedrockRuntimeClient,
  ResourceNotFoundException,
  ValidationException,
} from '@aws-sdk/client-bedrock-runtime';
import { serve } from '@hono/node-server';
import { createGuardrail } from '@moestack/detect/guardrail';
import { createGuardrailApp } from '@moestack/detect/hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const guardrail = createGuardrail({
  name: 'house-rules',
  aiText: { mode: 'annotate' },
  topics: [
    { name: 'medical', patterns: ['\\bdiagnos\\w+'] },
    { name: 'legal', patterns: ['\\blawsuit\\b'], mode: 'annotate' },
  ],
  words: { list: ['darn'] },
  pii: [{ type: 'EMAIL' }, { type: 'CREDIT_DEBIT_CARD_NUMBER', mode: 'block' }],
  regexes: [{ name: 'ticket', pattern: 'TCK-\\d+' }],
  blockedInputMessage: 'No.',
});
let client: BedrockRuntimeClient;
let server: ReturnType<typeof serve>;

beforeAll(async () => {
  const app = createGuardrailApp({
    guardrails: { rules: guardrail, 'old:1': guardrail },
    maximumBodyBytes: 100_000,
  });
  const port = await new Promise<number>((resolve) => {
    // The client speaks HTTP/2, without TLS to a plain http endpoint.
    server = serve(
      { fetch: app.fetch, createServer, port: 0, hostname: '127.0.0.1' },
      (address: AddressInfo) => resolve(address.port),
    );
  });
  client = new BedrockRuntimeClient({
    region: 'eu-central-1',
    endpoint: `http://127.0.0.1:${port}`,
    credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'secret' },
    maxAttempts: 1,
  });
});

afterAll(() => {
  client.destroy();
  server.close();
});

const apply = (
  text: string,
  change: Partial<ApplyGuardrailCommandInput> = {},
): Promise<ApplyGuardrailCommandOutput> =>
  client.send(
    new ApplyGuardrailCommand({
      guardrailIdentifier: 'rules',
      guardrailVersion: 'DRAFT',
      source: 'INPUT',
      content: [{ text: { text } }],
      ...change,
    }),
  );

describe('the Bedrock client against the local server', () => {
  it('lets a clean text pass', async () => {
    const answer = await apply('We walked home.');
    expect(answer).toMatchObject({ action: 'NONE', outputs: [], assessments: [] });
    expect(answer.usage).toMatchObject({ topicPolicyUnits: 1, wordPolicyUnits: 1, contentPolicyUnits: 0 });
    expect(answer.guardrailCoverage?.textCharacters).toEqual({ guarded: 15, total: 15 });
  });

  it('blocks a topic, a word and a card number', async () => {
    const answer = await apply('A diagnosis, darn, 4111 1111 1111 1111.');
    expect(answer).toMatchObject({
      action: 'GUARDRAIL_INTERVENED',
      outputs: [{ text: 'No.' }],
      actionReason: 'Guardrail blocked.',
    });
    expect(answer.assessments?.[0]).toMatchObject({
      topicPolicy: { topics: [{ name: 'medical', type: 'DENY', action: 'BLOCKED', detected: true }] },
      wordPolicy: {
        customWords: [{ match: 'darn', action: 'BLOCKED', detected: true }],
        managedWordLists: [],
      },
      sensitiveInformationPolicy: {
        piiEntities: [{ type: 'CREDIT_DEBIT_CARD_NUMBER', match: '4111 1111 1111 1111', action: 'BLOCKED' }],
      },
    });
  });

  it('masks every block of an output', async () => {
    const answer = await apply('', {
      source: 'OUTPUT',
      content: [{ text: { text: 'mail a@b.org' } }, { text: { text: 'as TCK-77 says' } }],
    });
    expect(answer).toMatchObject({ action: 'GUARDRAIL_INTERVENED', actionReason: 'Guardrail masked.' });
    expect(answer.outputs?.map(({ text }) => text)).toEqual(['mail {EMAIL}', 'as {ticket} says']);
    expect(answer.assessments?.[0]?.sensitiveInformationPolicy?.regexes).toMatchObject([
      { name: 'ticket', regex: 'TCK-\\d+', match: 'TCK-77', action: 'ANONYMIZED' },
    ]);
  });

  it('only reports in annotate mode, and lists what was not found when asked to', async () => {
    const answer = await apply('A lawsuit.', { outputScope: 'FULL' });
    expect(answer.action).toBe('NONE');
    expect(answer.assessments?.[0]?.topicPolicy?.topics).toEqual([
      { name: 'legal', type: 'DENY', action: 'NONE', detected: true },
      { name: 'medical', type: 'DENY', action: 'NONE', detected: false },
      { name: 'AI_GENERATED_TEXT', type: 'DENY', action: 'NONE', detected: false },
    ]);
  });

  it('guards what is qualified so, and leaves sources alone', async () => {
    const answer = await apply('', {
      content: [
        { text: { text: 'darn', qualifiers: ['grounding_source'] } },
        { text: { text: 'fine', qualifiers: ['guard_content'] } },
      ],
    });
    expect(answer).toMatchObject({
      action: 'NONE',
      guardrailCoverage: { textCharacters: { guarded: 4, total: 8 } },
    });
  });

  it('answers errors that the client knows', async () => {
    await expect(apply('x', { guardrailIdentifier: 'none' })).rejects.toThrow(ResourceNotFoundException);
    await expect(apply('x', { guardrailIdentifier: 'old', guardrailVersion: '2' })).rejects.toThrow(
      ResourceNotFoundException,
    );
    await expect(apply('x', { guardrailIdentifier: 'old', guardrailVersion: '1' })).resolves.toMatchObject({
      action: 'NONE',
    });
    await expect(apply('x', { guardrailVersion: 'latest' })).rejects.toThrow(ValidationException);
    await expect(apply('x', { source: 'BOTH' as 'INPUT' })).rejects.toThrow(/source/);
    await expect(apply('x', { content: [] })).rejects.toThrow(ValidationException);
    await expect(apply('x'.repeat(200_000))).rejects.toThrow(/100000 bytes/);
    await expect(
      apply('x', { content: [{ image: { format: 'png', source: { bytes: new Uint8Array(4) } } }] }),
    ).rejects.toThrow(/images/);
    await expect(
      apply('x', { guardrailIdentifier: 'arn:aws:bedrock:eu-central-1:1:guardrail/rules' }),
    ).resolves.toMatchObject({ action: 'NONE' });
  });
});
