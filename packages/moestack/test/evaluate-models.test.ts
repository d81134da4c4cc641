import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { BenchmarkRecord } from '@moestack/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluateModels } from '../src/index.js';

const bf16 = fixturePath('model/interim-moe');
const fp8 = fixturePath('model/interim-moe/fp8');
const heldout = fixturePath('model/interim-moe/heldout.jsonl');
const golden = readFixtureJson<{
  heldout: Record<string, { tokens_scored: number; bits_per_byte: number }>;
}>('model/interim-moe/golden.json');

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'evaluate-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function textFile(name: string, text: string | Uint8Array): Promise<string> {
  const path = join(root, name);
  await writeFile(path, text);
  return path;
}

function figure(record: BenchmarkRecord, of: string, metric: string) {
  return record.figures.find((entry) => entry.of === of && entry.metric === metric)!;
}

describe('evaluateModels', () => {
  it('finds the golden bits per byte of both models on the held-out passages', async () => {
    const record = await evaluateModels({
      subject: { path: fp8, name: 'interim-moe-fp8' },
      baseline: { path: bf16, name: 'interim-moe' },
      data: { path: heldout, license: 'CC0-1.0', split: 'heldout' },
    });
    expect(BenchmarkRecord.parse(JSON.parse(JSON.stringify(record)))).toEqual(record);
    const bits = (of: string) => figure(record, of, 'bits-per-byte');
    expect(bits('subject').value).toBeCloseTo(golden.heldout['fp8_dequant']!.bits_per_byte, 5);
    expect(bits('baseline').value).toBeCloseTo(golden.heldout['bf16']!.bits_per_byte, 5);
    expect(bits('subject').samples).toBe(golden.heldout['bf16']!.tokens_scored);
    expect(record.dataset).toMatchObject({ name: 'heldout.jsonl', documents: 60, tokens: 60 * 257 });
    expect(record.subject).toMatchObject({ name: 'interim-moe-fp8', recipe: 'fp8-weights' });
    const weights = createHash('sha256').update(await readFile(join(bf16, 'model.safetensors')));
    expect(record.baseline).toMatchObject({ recipe: 'f32', sha256: weights.digest('hex') });
    const kl = figure(record, 'comparison', 'kl-divergence');
    expect(kl.value).toBeGreaterThan(1e-4);
    expect(kl.value).toBeLessThan(1e-2);
    expect(kl.interval!.low).toBeLessThan(kl.value);
    expect(figure(record, 'comparison', 'top-1-agreement').value).toBeGreaterThan(0.95);
    const difference = figure(record, 'comparison', 'negative-log-likelihood-difference');
    expect(difference.interval!.high).toBeGreaterThan(difference.value);
  });

  it('a model has no divergence from itself, a smaller context a larger loss', async () => {
    const text = (await readFile(heldout, 'utf8'))
      .split('\n')
      .slice(0, 2)
      .map((line) => (JSON.parse(line) as { text: string }).text);
    const path = await textFile('long.txt', text.join('\n'));
    const data = { path };
    const [long, short] = await Promise.all(
      [256, 16].map((contextTokens) =>
        evaluateModels({
          subject: { path: fp8 },
          baseline: { path: fp8 },
          data,
          contextTokens,
          strideTokens: contextTokens / 4,
        }),
      ),
    );
    expect(figure(long!, 'comparison', 'kl-divergence-maximum').value).toBe(0);
    expect(long!.dataset.tokens! - 1).toBe(figure(long!, 'subject', 'perplexity').samples);
    expect(figure(short!, 'subject', 'perplexity').samples).toBe(long!.dataset.tokens! - 1);
    expect(figure(short!, 'subject', 'perplexity').value).toBeGreaterThan(
      figure(long!, 'subject', 'perplexity').value,
    );
  });

  it('stops at maxTokens, and gives the same record again', async () => {
    const run = (maxTokens: number) =>
      evaluateModels({
        subject: { path: fp8 },
        data: { path: heldout },
        maxTokens,
        contextTokens: 64,
        strideTokens: 64,
      });
    const record = await run(100);
    expect(figure(record, 'subject', 'perplexity').samples).toBe(128);
    expect(record.figures.every(({ of }) => of === 'subject')).toBe(true);
    expect(await run(100)).toEqual(record);
  });

  it('reports progress to the end and stops when told', async () => {
    const seen: string[] = [];
    const controller = new AbortController();
    const running = evaluateModels({
      subject: { path: fp8 },
      data: { path: heldout },
      signal: controller.signal,
      onProgress: ({ phase, done, total }) => {
        seen.push(phase);
        if (phase === 'scoring' && done > total / 50) controller.abort();
      },
    });
    await expect(running).rejects.toMatchObject({ code: 'aborted' });
    expect(new Set(seen)).toEqual(new Set(['loading', 'scoring']));
  });

  it.each([
    ['a missing file', async () => ({ path: join(root, 'none.txt') }), 'does not exist'],
    ['an empty file', async () => ({ path: await textFile('empty.txt', '') }), 'no text'],
    ['a single token', async () => ({ path: await textFile('one.txt', 'e') }), 'two tokens'],
    [
      'bytes that are no text',
      async () => ({ path: await textFile('bytes.txt', Uint8Array.of(0xff, 0xfe)) }),
      'UTF-8',
    ],
    [
      'lines without text',
      async () => ({ path: await textFile('x.jsonl', '{"text":"a"}\n{"a":1}\n') }),
      'line 2 has no',
    ],
    [
      'lines that are no JSON',
      async () => ({ path: await textFile('y.jsonl', 'nonsense') }),
      'line 1 is no JSON',
    ],
    ['a folder', async () => ({ path: root }), 'no regular file'],
  ])('refuses %s', async (_, data, message) => {
    const options = { subject: { path: fp8 }, data: await data() };
    await expect(evaluateModels(options)).rejects.toMatchObject({
      code: 'cli/bad-data',
      message: expect.stringContaining(message),
    });
  });

  it('refuses sizes and models that do not fit before it loads them', async () => {
    const data = { path: heldout };
    const subject = { path: fp8 };
    for (const sizes of [{ contextTokens: 257 }, { contextTokens: 8, strideTokens: 9 }, { maxTokens: 0 }]) {
      await expect(evaluateModels({ subject, data, ...sizes })).rejects.toMatchObject({
        code: 'cli/bad-options',
      });
    }
    const other = { path: fixturePath('routing-model/tiny-v3') };
    await expect(evaluateModels({ subject, baseline: other, data })).rejects.toMatchObject({
      code: 'cli/different-models',
    });
  });
});
