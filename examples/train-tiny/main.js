import { appendFileSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadModel, loadTokenizer } from '@moestack/model';
import { CorpusConfig, TrainConfig } from '@moestack/schemas';
import {
  createTokenSource,
  exportModel,
  parseRunLog,
  prepareCorpus,
  readCheckpoint,
  Trainer,
  train,
  trainingPage,
} from '@moestack/training';

const here = fileURLToPath(new URL('.', import.meta.url));
const [out = 'trained', steps] = process.argv.slice(2);
const json = async (name) => JSON.parse(await readFile(join(here, name), 'utf8'));
const [corpus, run, model] = ['corpus', 'run', 'model'].map((name) => join(out, name));

const manifest = await prepareCorpus(CorpusConfig.parse(await json('corpus.json')), {
  directory: corpus,
  baseDirectory: here,
  cacheDirectory: join(out, 'cache'),
  contextTokens: 64,
});
console.log(`corpus: ${manifest.train.tokens} tokens to train on, ${manifest.heldOut.tokens} held out`);

// A second start begins anew; without this line it would go on from the last checkpoint.
await rm(run, { recursive: true, force: true });
await mkdir(run, { recursive: true });
const settings = await json('train.json');
const config = TrainConfig.parse({ ...settings, steps: Number(steps ?? settings.steps) });
const { contextTokens, batchSequences, seeds } = config;
const file = join(corpus, manifest.train.file);
const source = createTokenSource({ file, contextTokens, batchSequences, seed: seeds.data });
const log = join(run, 'log.jsonl');
await train(config, {
  directory: run,
  source,
  clock: () => performance.now() / 1000,
  onEvent(event) {
    appendFileSync(log, `${JSON.stringify(event)}\n`);
    if (event.type !== 'step' || (event.step !== 1 && event.step % 25 !== 0)) return;
    const balance = event.maxVio.map((value) => value.toFixed(2)).join(' ');
    console.log(
      `step ${event.step}: loss ${event.loss.toFixed(3)}, ${event.tokensPerSecond.toFixed(0)} tokens/s, MaxVio ${balance}`,
    );
  },
});
source.close();
await writeFile(
  join(run, 'plot.html'),
  trainingPage([{ config, log: parseRunLog(await readFile(log, 'utf8')) }]),
);

const trainer = new Trainer(config);
trainer.restore(await readCheckpoint(run, config));
await exportModel(trainer, model, { endOfSequenceId: manifest.tokenizer.endOfTextId, maximumPositions: 128 });
for (const name of ['tokenizer.json', 'tokenizer_config.json'])
  await copyFile(join(corpus, name), join(model, name));

const tokenizer = await loadTokenizer(model);
const loaded = await loadModel(model);
const prompt = 'Alice was beginning to';
const tokens = await loaded.generate(tokenizer.encode(prompt), { maxTokens: 60, temperature: 0.7, seed: 1 });
console.log(`sample: ${prompt}${tokenizer.decode(tokens)}`);
await loaded.close();
