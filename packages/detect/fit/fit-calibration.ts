import {
  binFor,
  type ConformalAlpha,
  type ConformalBin,
  calibrate,
  type DomainBin,
  type ProseCalibration,
  sigmoid,
  type UnitLevels,
} from '../src/embedded-model/calibration.js';
import { conformalThreshold } from '../src/evaluation/thresholds.js';
import { CONTINUATION_WEIGHT } from './fit-prose-model.js';
import { type OutOfFold, PIECE_WORDS } from './out-of-fold.js';
import type { FitText } from './texts.js';

const RESAMPLES = 200;
const SEED = 20240904;
const LENGTHS = [0, 30, 50, 75, 110];
const ALPHAS: readonly ConformalAlpha[] = [0.01, 0.05, 0.1];
/** Share of texts of the fitting domains that may count as out of domain by each measure. */
const OUTSIDE = 0.005;
const WORDS = { minimum: 20, maximum: 150 };

/** Fits probabilities, thresholds and the domain on out-of-fold scores. */
export function fitCalibration(
  rows: readonly OutOfFold[],
  pieces: readonly PiecesOfText[],
): ProseCalibration {
  const sample = rows.map((row) => toPoint(row));
  const weightOf = ({ text }: OutOfFold): number => (text.isContinuation ? CONTINUATION_WEIGHT : 1);
  const [a, b, c] = newton(sample, rows.map(weightOf));
  const groups = [...new Set(rows.map(({ text }) => text.group))];
  const random = generator(SEED);
  const fits: number[][] = [];
  for (let round = 0; round < RESAMPLES; round++) {
    const times = new Map<string, number>();
    for (let i = 0; i < groups.length; i++) {
      const group = groups[Math.floor(random() * groups.length)]!;
      times.set(group, (times.get(group) ?? 0) + 1);
    }
    fits.push(
      newton(
        sample,
        rows.map((row) => weightOf(row) * (times.get(row.text.group) ?? 0)),
      ),
    );
  }
  const center = [0, 1, 2].map((i) => fits.reduce((sum, fit) => sum + fit[i]!, 0) / RESAMPLES);
  const covariance = [0, 1, 2].flatMap((i) =>
    [0, 1, 2].map((j) =>
      round(
        fits.reduce((sum, fit) => sum + (fit[i]! - center[i]!) * (fit[j]! - center[j]!), 0) / (RESAMPLES - 1),
      ),
    ),
  );
  const bare: ProseCalibration = {
    ...{ a: round(a!), b: round(b!), c: round(c!), covariance, shift: 0, words: WORDS },
    ...{ conformal: [], domain: [], units: fitUnits(pieces) },
  };
  return {
    ...bare,
    shift: round(shiftBetweenCells(rows, bare)),
    conformal: LENGTHS.map((words) => conformalBin(rows, bare, words)),
    domain: LENGTHS.map((words) => domainBin(rows, words)),
  };
}

/** Scores of the pieces of one text. */
export interface PiecesOfText {
  readonly text: FitText;
  readonly scores: readonly number[];
}

/** Levels of the two sides, and how pieces of one text and texts of one side vary around them; continuations left out. */
function fitUnits(pieces: readonly PiecesOfText[]): UnitLevels {
  const usable = pieces.filter(({ text, scores }) => !text.isContinuation && scores.length >= 2);
  const meanOf = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const level = (isAi: boolean): number =>
    meanOf(usable.filter(({ text }) => text.isAi === isAi).map(({ scores }) => meanOf(scores)));
  const [human, ai] = [level(false), level(true)];
  const within = meanOf(
    usable.map(({ scores }) => {
      const center = meanOf(scores);
      return scores.reduce((sum, score) => sum + (score - center) ** 2, 0) / (scores.length - 1);
    }),
  );
  const around = meanOf(
    usable.map(
      ({ text, scores }) => (meanOf(scores) - (text.isAi ? ai : human)) ** 2 - within / scores.length,
    ),
  );
  return {
    words: PIECE_WORDS,
    human: round(human),
    ai: round(ai),
    within: round(Math.sqrt(within)),
    between: round(Math.sqrt(Math.max(0, around))),
  };
}

interface Point {
  readonly x: readonly [1, number, number];
  readonly label: number;
}

function toPoint({ score, words, text }: OutOfFold): Point {
  const n = Math.max(WORDS.minimum, Math.min(WORDS.maximum, words));
  return { x: [1, score, score * Math.log(n / 100)], label: text.isAi ? 1 : 0 };
}

/** Logistic regression of three parameters by Newton's method, with a small ridge. */
function newton(points: readonly Point[], weights: readonly number[]): number[] {
  const w = [0, 0.5, 0];
  for (let step = 0; step < 50; step++) {
    const g = w.map((value) => 1e-3 * value);
    const h = [1e-3, 0, 0, 0, 1e-3, 0, 0, 0, 1e-3];
    points.forEach(({ x, label }, k) => {
      const p = sigmoid(w[0]! * x[0] + w[1]! * x[1] + w[2]! * x[2]);
      for (let i = 0; i < 3; i++) {
        g[i]! += weights[k]! * (p - label) * x[i]!;
        for (let j = 0; j < 3; j++) h[3 * i + j]! += weights[k]! * p * (1 - p) * x[i]! * x[j]!;
      }
    });
    const move = solve3(h, g);
    for (let i = 0; i < 3; i++) w[i]! -= move[i]!;
    if (Math.max(...move.map(Math.abs)) < 1e-10) break;
  }
  return w;
}

function solve3(matrix: readonly number[], right: readonly number[]): number[] {
  const rows = [0, 1, 2].map((i) => [...matrix.slice(3 * i, 3 * i + 3), right[i]!]);
  for (let i = 0; i < 3; i++) {
    for (let r = 0; r < 3; r++) {
      if (r === i) continue;
      const factor = rows[r]![i]! / rows[i]![i]!;
      for (let k = i; k < 4; k++) rows[r]![k]! -= factor * rows[i]![k]!;
    }
  }
  return rows.map((row, i) => row[3]! / row[i]!);
}

/** Deviation of the offset that each cell by itself would want, over its texts of full length. */
function shiftBetweenCells(rows: readonly OutOfFold[], calibration: ProseCalibration): number {
  const whole = rows.filter(({ cut }) => cut === 0);
  const offsets = [...new Set(whole.map(({ text }) => text.cell))].map((cell) => {
    const own = whole.filter(({ text }) => text.cell === cell);
    let offset = 0;
    for (let step = 0; step < 50; step++) {
      let g = 1e-3 * offset;
      let h = 1e-3;
      for (const row of own) {
        const p = sigmoid(calibrate(row.score, row.words, calibration).logit + offset);
        g += p - (row.text.isAi ? 1 : 0);
        h += p * (1 - p);
      }
      offset -= Math.max(-1, Math.min(1, g / h));
    }
    return offset;
  });
  return Math.sqrt(offsets.reduce((sum, offset) => sum + offset * offset, 0) / offsets.length);
}

/** One score for each human text: of its longest piece that falls into the bin. */
function conformalBin(
  rows: readonly OutOfFold[],
  calibration: ProseCalibration,
  words: number,
): ConformalBin {
  const longest = new Map<string, OutOfFold>();
  for (const row of rows) {
    if (
      row.text.isAi ||
      binFor(
        LENGTHS.map((length) => ({ words: length })),
        row.words,
      ).words !== words
    )
      continue;
    const known = longest.get(row.text.group);
    if (known === undefined || known.words < row.words) longest.set(row.text.group, row);
  }
  const logits = [...longest.values()].map((row) => calibrate(row.score, row.words, calibration).logit);
  const at = (alpha: ConformalAlpha): number => round(conformalThreshold(logits, alpha).threshold);
  return {
    words,
    humans: logits.length,
    thresholds: { '0.01': at(ALPHAS[0]!), '0.05': at(ALPHAS[1]!), '0.1': at(ALPHAS[2]!) },
  };
}

function domainBin(rows: readonly OutOfFold[], words: number): DomainBin {
  const own = rows.filter(
    (row) =>
      binFor(
        LENGTHS.map((length) => ({ words: length })),
        row.words,
      ).words === words,
  );
  const limit = (values: number[]): number => {
    const sorted = values.sort((x, y) => x - y);
    return round(sorted[Math.ceil((1 - OUTSIDE) * sorted.length) - 1]!);
  };
  return {
    words,
    distance: limit(own.map(({ distance }) => distance)),
    unseen: limit(own.map(({ unseen }) => unseen)),
  };
}

function round(value: number): number {
  return Number(value.toPrecision(6));
}

/** Mulberry32. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
