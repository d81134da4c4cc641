import type { ProseCalibration } from './calibration.js';
import { GRAM_BUCKETS, type GramKind } from './hashed-grams.js';
import { type GramWeights, type ProseModel, positionsOf } from './prose-model.js';

/** Weights of word sequences as text. */
export interface PackedGrams {
  readonly kind: GramKind;
  /** Base64 of a bit for each bucket: whether it is used. */
  readonly buckets: string;
  /** Base64 of 4 bits for each used bucket, low half first: level of its inverse document frequency. */
  readonly idf: string;
  readonly idfLow: number;
  readonly idfStep: number;
  /** Base64 of a signed byte for each used bucket: its weight in units of `weightStep`. */
  readonly weights: string;
  readonly weightStep: number;
  readonly bias: number;
}

/** A fitted detector as plain data. */
export interface PackedModel {
  readonly schemaVersion: 1;
  /** Changes whenever a score can. */
  readonly id: string;
  readonly minimumWords: number;
  readonly style: {
    readonly mean: readonly number[];
    readonly deviation: readonly number[];
    readonly weights: readonly number[];
    readonly bias: number;
  };
  readonly grams: readonly PackedGrams[];
  readonly calibration: ProseCalibration;
}

/** Unpacks weights. */
export function unpackModel(packed: PackedModel): ProseModel {
  const { style } = packed;
  return {
    style: {
      mean: Float64Array.from(style.mean),
      deviation: Float64Array.from(style.deviation),
      weights: Float64Array.from(style.weights),
      bias: style.bias,
    },
    grams: packed.grams.map(unpackGrams),
  };
}

function unpackGrams(packed: PackedGrams): GramWeights {
  const position = positionsOf(bytesOf(packed.buckets));
  const weights = new Int8Array(bytesOf(packed.weights).buffer);
  const levels = bytesOf(packed.idf);
  return {
    kind: packed.kind,
    position,
    idf: Float64Array.from(
      weights,
      (_, i) => packed.idfLow + packed.idfStep * ((levels[i >> 1]! >> (4 * (i & 1))) & 15),
    ),
    weights: Float64Array.from(weights, (weight) => weight * packed.weightStep),
    bias: packed.bias,
  };
}

/** Packs weights: 8 bits each, inverse document frequencies in 4. */
export function packGrams(model: GramWeights, idfLevels: number): PackedGrams {
  const buckets = new Uint8Array(GRAM_BUCKETS / 8);
  model.position.forEach((position, bucket) => {
    if (position >= 0) buckets[bucket >> 3]! |= 1 << (bucket & 7);
  });
  let low = Infinity;
  let high = -Infinity;
  for (const value of model.idf) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const step = (high - low) / (idfLevels - 1);
  const idf = new Uint8Array(Math.ceil(model.idf.length / 2));
  model.idf.forEach((value, i) => {
    idf[i >> 1]! |= Math.round((value - low) / step) << (4 * (i & 1));
  });
  const largest = model.weights.reduce((max, weight) => Math.max(max, Math.abs(weight)), 0);
  const weightStep = Number((largest / 127).toPrecision(6));
  const weights = Int8Array.from(model.weights, (weight) => Math.round(weight / weightStep));
  return {
    kind: model.kind,
    buckets: textOf(buckets),
    idf: textOf(idf),
    idfLow: Number(low.toPrecision(9)),
    idfStep: Number(step.toPrecision(9)),
    weights: textOf(new Uint8Array(weights.buffer)),
    weightStep,
    bias: Number(model.bias.toPrecision(6)),
  };
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function textOf(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
