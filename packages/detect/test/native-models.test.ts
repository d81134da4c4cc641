import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { fromLogits, measureText, scoreMeasured, scoreText } from '@moestack/detect';
import { loadLlamaModel } from '@moestack/detect/llama';
import { loadTransformersModel } from '@moestack/detect/transformers';
import { generator } from '@moestack/fixtures';
import { tinyMoe } from '@moestack/tiny-moe';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeGgufModel } from './gguf-model.js';
import { writeOnnxModel } from './onnx-model.js';
import { codeOf } from './stand-in.js';

/** Where the optional packages may lie; together they are half a gigabyte, so that nothing installs them for a test. */
const folders = [
  process.env['MOESTACK_PEERS'],
  join(import.meta.dirname, '../../../node_modules/.cache/moestack-bench'),
].filter((folder) => folder !== undefined);

function find(name: string): string | undefined {
  return folders
    .map((folder) => join(folder, 'node_modules', name))
    .find((folder) => existsSync(join(folder, 'package.json')));
}

async function load(folder: string): Promise<unknown> {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    main?: string;
    exports?: { node?: { import?: { default?: string } } };
  };
  const entry = manifest.exports?.node?.import?.default ?? manifest.main ?? 'dist/index.js';
  return await import(pathToFileURL(join(folder, entry)).href);
}

const text = 'Once upon a time there was a little dog.';
const transformersFolder = find('@huggingface/transformers');
const llamaFolder = find('node-llama-cpp');
let work = '';
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'detect-native-'));
});
afterAll(async () => {
  await rm(work, { recursive: true, force: true });
});

it('says how to get a package that is not installed', async () => {
  await expect(loadTransformersModel('/nowhere')).rejects.toMatchObject({ code: 'detect/missing-peer' });
  await expect(loadLlamaModel('/nowhere.gguf')).rejects.toMatchObject({ code: 'detect/missing-peer' });
});

describe.skipIf(transformersFolder === undefined)(
  'transformers.js (skipped unless @huggingface/transformers is in MOESTACK_PEERS/node_modules)',
  () => {
    it('scores a local ONNX model by its logits, and refuses exports of the last position', async () => {
      const transformers = await load(transformersFolder!);
      const random = generator(5);
      const [vocabulary, hidden] = [2048, 16];
      const embedding = Float32Array.from({ length: vocabulary * hidden }, () => random() - 0.5);
      const head = Float32Array.from({ length: hidden * vocabulary }, () => random() - 0.5);
      for (const name of ['all', 'last']) {
        const folder = join(work, name);
        await cp(fileURLToPath(tinyMoe), folder, { recursive: true });
        await writeOnnxModel(folder, { vocabulary, hidden, embedding, head }, { lastOnly: name === 'last' });
      }
      const performer = await loadTransformersModel(join(work, 'all'), { transformers });
      const measured = await measureText(text, { performer });
      const ids = Int32Array.from(measured.tokens, ({ id }) => id);
      const logits = new Float32Array(ids.length * vocabulary);
      ids.forEach((id, t) => {
        for (let v = 0; v < vocabulary; v++) {
          let sum = 0;
          for (let h = 0; h < hidden; h++) sum += embedding[id * hidden + h]! * head[h * vocabulary + v]!;
          logits[t * vocabulary + v] = sum;
        }
      });
      const input = { vocab: vocabulary, observer: logits, performer: logits, ids };
      for (const name of ['logLikelihood', 'fastDetectGpt', 'entropy'] as const)
        expect(scoreMeasured(name, measured).value).toBeCloseTo(fromLogits(name, input), 5);
      expect(measured.tokens.map((token) => token.text).join('')).toBe(text);
      await performer.close();

      const last = await loadTransformersModel(join(work, 'last'), { transformers });
      expect(await codeOf(scoreText('lrr', text, { performer: last }))).toBe('detect/bad-response');
      await last.close();
      expect(await codeOf(loadTransformersModel(join(work, 'none'), { transformers }))).toBe('detect/model');
    });
  },
);

describe.skipIf(llamaFolder === undefined)(
  'llama.cpp (skipped unless node-llama-cpp is in MOESTACK_PEERS/node_modules)',
  () => {
    it('scores a GGUF model, the same whatever the chunks', async () => {
      const nodeLlamaCpp = await load(llamaFolder!);
      const path = join(work, 'tiny.gguf');
      const { vocabulary } = await writeGgufModel(path, generator(6));
      const values: number[] = [];
      for (const chunkTokens of [5, 64]) {
        const performer = await loadLlamaModel(path, { nodeLlamaCpp, chunkTokens, threads: 1 });
        expect(performer.identity).toMatchObject({ name: 'tiny.gguf', vocabulary });
        const measured = await measureText(text, { performer });
        expect(measured.statistics.tokens.length).toBeGreaterThan(30);
        // Random weights know nothing of texts: the tokens are less likely than the model expects of its own.
        expect(scoreMeasured('fastDetectGpt', measured).value).toBeLessThan(0);
        expect(scoreMeasured('entropy', measured).value).toBeLessThan(Math.log(vocabulary));
        values.push(scoreMeasured('logLikelihood', measured).value);
        const [a, b] = await Promise.all(
          ['one text', 'another'].map((other) => scoreText('lrr', other, { performer })),
        );
        expect(Number.isFinite(a!.value + b!.value)).toBe(true);
        // A reader that stops half-way keeps others waiting no longer than their deadline.
        const half = performer.score(text)[Symbol.asyncIterator]();
        await half.next();
        const late = scoreText('lrr', text, { performer, timeoutSeconds: 0.05 });
        expect(await codeOf(late)).toBe('timeout');
        await half.return?.();
        expect((await scoreText('lrr', text, { performer })).tokens).toBeGreaterThan(30);
        await performer.close();
      }
      expect(values[1]).toBeCloseTo(values[0]!, 5);
      expect(await codeOf(loadLlamaModel(join(work, 'none.gguf'), { nodeLlamaCpp }))).toBe('detect/model');
    });
  },
);
