import { LOGIT_STATS_LENGTH } from '../logit-stats-layout.js';

/** Stands for minus infinity in differences, so that a weight of (nearly) zero times it is no NaN. */
const NOTHING = -1e60;
const MAGIC = 6755399441055744;
const powers = new Uint32Array(2);
const power = new Float64Array(powers.buffer);

function expNegative(value: number): number {
  const x = Math.max(value, -708);
  const n = x * Math.LOG2E + MAGIC - MAGIC;
  const r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
  let q = 2.749311584295366e-6;
  q = q * r + 2.4880798401929075e-5;
  q = q * r + 0.00019841538910117225;
  q = q * r + 0.0013888811165558403;
  q = q * r + 0.008333333095263564;
  q = q * r + 0.04166666696213651;
  q = q * r + 0.1666666666726476;
  q = q * r + 0.4999999999966444;
  powers[1] = (n + 1023) << 20;
  return (r * r * q + r + 1) * power[0]!;
}

/**
 * Sums over one row of logits; see {@link LogitStatsKernels.logitStats} for `out`.
 *
 * Element v belongs to partial sum v mod 4, rows are filled up with minus infinity to a multiple of 4, and the partial
 * sums are added as (0 + 2) + (1 + 3).
 */
export function logitStats(
  observer: Float32Array | undefined,
  performer: Float32Array,
  vocabulary: number,
  token: number,
  inverseTemperature: number,
  out: Float64Array,
): void {
  let maxP = -Infinity;
  let maxO = observer === undefined ? 0 : -Infinity;
  let c = 0;
  let bad = false;
  for (let v = 0; v < vocabulary; v++) {
    const p = performer[v]!;
    if (Number.isNaN(p)) bad = true;
    if (p > maxP) maxP = p;
    if (observer === undefined) continue;
    const o = observer[v]!;
    if (Number.isNaN(o)) bad = true;
    if (p !== -Infinity && o > maxO) {
      maxO = o;
      c = p;
    }
  }
  if (bad || !Number.isFinite(maxP) || !Number.isFinite(maxO)) {
    out[LOGIT_STATS_LENGTH - 1] = 1;
    return;
  }
  const partial = new Float64Array(24);
  const padded = Math.ceil(vocabulary / 4) * 4;
  for (let v = 0; v < padded; v++) {
    const lane = v & 3;
    const p = v < vocabulary ? performer[v]! : -Infinity;
    const x = Math.max((p - maxP) * inverseTemperature, NOTHING);
    const e = expNegative(x);
    partial[lane] = partial[lane]! + e;
    partial[4 + lane] = partial[4 + lane]! + e * x;
    partial[8 + lane] = partial[8 + lane]! + e * x * x;
    if (observer === undefined) continue;
    const o = v < vocabulary && p !== -Infinity ? observer[v]! : -Infinity;
    const w = expNegative((o - maxO) * inverseTemperature);
    const d = Math.max((p - c) * inverseTemperature, NOTHING);
    partial[12 + lane] = partial[12 + lane]! + w;
    partial[16 + lane] = partial[16 + lane]! + w * d;
    partial[20 + lane] = partial[20 + lane]! + w * d * d;
  }
  const total = (at: number): number =>
    partial[at]! + partial[at + 2]! + (partial[at + 1]! + partial[at + 3]!);
  out[0] = maxP + 0;
  out[1] = total(0);
  out[2] = total(4);
  out[3] = total(8);
  out[4] = maxO + 0;
  out[5] = total(12);
  out[6] = c + 0;
  out[7] = total(16);
  out[8] = total(20);
  out[9] = token < 0 ? 0 : rankOf(performer, vocabulary, token);
  out[10] = 0;
}

function rankOf(logits: Float32Array, vocabulary: number, token: number): number {
  const value = logits[token]!;
  let rank = 1;
  for (let v = 0; v < vocabulary; v++) {
    const logit = logits[v]!;
    if (logit > value || (logit === value && v < token)) rank++;
  }
  return rank;
}
