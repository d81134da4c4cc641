import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type PackedModel, packGrams, unpackModel } from '../src/embedded-model/packed-model.js';
import type { ProseModel } from '../src/embedded-model/prose-model.js';
import { figures } from './figures.js';
import { fitCalibration } from './fit-calibration.js';
import { fitProseModel, IDF_LEVELS } from './fit-prose-model.js';
import { fitFolds, outOfFold, pieceScores } from './out-of-fold.js';
import { digests, readTexts } from './texts.js';

/** Texts of a pair are cut to the same length, at most this. */
const MAXIMUM_WORDS = 150;
/** The shortest length at which out-of-fold texts of chat models are told apart well enough: see the model card. */
const MINIMUM_WORDS = 40;

const folder = process.argv[2];
if (folder === undefined)
  throw new Error('usage: node fit/run.mjs fit.ts FOLDER, with prose.jsonl and prose_newer.jsonl');
const texts = readTexts(folder, MAXIMUM_WORDS);
const fitting = texts.filter(({ mayFit }) => mayFit);
const number = (value: number): number => Number(value.toPrecision(6));

function pack(model: ProseModel): Omit<PackedModel, 'calibration' | 'id'> {
  const { style } = model;
  return {
    schemaVersion: 1,
    minimumWords: MINIMUM_WORDS,
    style: {
      mean: Array.from(style.mean, number),
      deviation: Array.from(style.deviation, number),
      weights: Array.from(style.weights, number),
      bias: number(style.bias),
    },
    grams: model.grams.map((grams) => packGrams(grams, IDF_LEVELS)),
  };
}

const unpacked = (model: ProseModel): ProseModel => unpackModel(pack(model) as PackedModel);
const folds = fitFolds(texts, unpacked);
const rows = outOfFold(folds);
const calibration = fitCalibration(
  rows.filter(({ text }) => text.mayFit),
  pieceScores(folds).filter(({ text }) => text.mayFit),
);
const model = { ...pack(fitProseModel(fitting)), calibration };
const digest = createHash('sha256').update(JSON.stringify(model)).digest('hex').slice(0, 8);
const packed: PackedModel = { ...model, id: `moestack-prose-1-${digest}` };

const source = `import type { PackedModel } from './packed-model.js';

// Written by fit/fit.ts; MODEL_CARD.md says from what.
export const proseModel: PackedModel = ${JSON.stringify(packed)};
`;
const target = resolve(process.cwd(), 'src/embedded-model/prose-weights.ts');
writeFileSync(target, source);
console.log(`${packed.id}: ${source.length} bytes`);
console.log(figures(rows, outOfFold(fitFolds(texts)), calibration, digests(folder)));
