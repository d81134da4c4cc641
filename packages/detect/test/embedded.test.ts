import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromLogits, measureText, scoreMeasured, scoreText } from '@moestack/detect';
import { loadEmbeddedModel, loadEmbeddedPair } from '@moestack/detect/embedded';
import { loadModel, loadTokenizer } from '@moestack/model';
import { tinyMoe, tinyMoeEarly } from '@moestack/tiny-moe';
import { expect, it } from 'vitest';
import { codeOf } from './stand-in.js';

const story =
  'Once upon a time there was a little girl named Lily. She had a red ball and liked to play with it in the park.';

it('scores by the default checkpoint as its own logits say', async () => {
  const performer = await loadEmbeddedModel(undefined, { chunkTokens: 7 });
  const path = fileURLToPath(tinyMoe);
  const model = await loadModel(path);
  try {
    const ids = (await loadTokenizer(path)).encode(story);
    const logits = await model.logits(ids);
    const input = { vocab: logits.length / ids.length, observer: logits, performer: logits, ids };
    const measured = await measureText(story, { performer });
    expect(measured.tokens.map(({ id }) => id)).toEqual([...ids]);
    expect(measured.tokens.map((token) => token.text).join('')).toBe(story);
    for (const name of ['logLikelihood', 'lrr', 'fastDetectGpt', 'entropy'] as const)
      expect(scoreMeasured(name, measured).value).toBeCloseTo(fromLogits(name, input), 4);
    // The model has learnt such stories: shuffled letters are far less likely.
    const reversed = await scoreText('logLikelihood', [...story].reverse().join(''), { performer });
    expect(reversed.value).toBeLessThan(scoreMeasured('logLikelihood', measured).value - 2);
  } finally {
    await performer.close();
    await model.close();
  }
});

it('pairs two checkpoints that share a tokenizer', async () => {
  const pair = await loadEmbeddedPair({ observer: tinyMoeEarly, performer: tinyMoe });
  const { performer, observer } = pair;
  expect(performer.identity.name).not.toBe(observer.identity.name);
  const { value, models } = await scoreText('binoculars', story, pair);
  expect(value).toBeGreaterThan(0);
  expect(models.observer).toEqual(observer.identity);
  await pair.close();
});

it('takes hostile text, deadlines and missing directories', async () => {
  const performer = await loadEmbeddedModel(undefined, { contextTokens: 64 });
  const hostile = `\ud800 lone \udc00 ${'\u202e\u0430\u200b'.repeat(20)}`;
  expect(Number.isFinite((await scoreText('fastDetectGpt', hostile, { performer })).value)).toBe(true);
  const long = await scoreText('logLikelihood', 'word '.repeat(2_000_000), { performer });
  expect(long.tokens).toBe(63);
  for (const short of ['', 'a']) {
    const code = await codeOf(scoreText('logLikelihood', short, { performer }));
    expect(code).toBe('detect/too-short');
  }
  const controller = new AbortController();
  controller.abort(new Error('enough'));
  await expect(scoreText('lrr', story, { performer, signal: controller.signal })).rejects.toThrow('enough');
  const scores = performer.score(story)[Symbol.asyncIterator]();
  await scores.next();
  expect(await codeOf(scoreText('lrr', story, { performer }))).toBe('detect/model');
  await scores.return?.();
  expect((await scoreText('lrr', story, { performer })).tokens).toBeGreaterThan(10);
  await performer.close();
  expect(await codeOf(loadEmbeddedModel('/nowhere'))).toMatch(/^(model|detect)\//);
});

it('names a checkpoint by what it holds, wherever it lies', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'detect-embedded-'));
  try {
    const copy = join(folder, 'fp8');
    await cp(fileURLToPath(tinyMoe), copy, { recursive: true });
    const [first, second] = [await loadEmbeddedModel(tinyMoe), await loadEmbeddedModel(copy)];
    expect(first.identity).toEqual(second.identity);
    await first.close();
    await second.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
