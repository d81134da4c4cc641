import type { DeepseekConfig } from './config.js';

/** Rotary position tables of one model. */
export interface RopeTables {
  /** Angle per position and pair, `[qk_rope_head_dim / 2]`. */
  readonly inverseFrequencies: Float64Array;
  /** What attention scores are multiplied with: `(nope + rope)^-0.5`, times YaRN's `m^2`. */
  readonly softmaxScale: number;
  /** Factor on cos and sin: `m(mscale) / m(mscale_all_dim)`, 1 for every published DeepSeek model. */
  readonly magnitude: number;
}

/**
 * Frequencies and softmax scale of `config`, with YaRN (arXiv 2309.00071) where `rope_scaling` is set. As in the
 * Hugging Face implementation YaRN is static: it applies at every position, also below the original context.
 */
export function ropeTables(config: DeepseekConfig): RopeTables {
  const dims = config.qk_rope_head_dim;
  const theta = config.rope_theta;
  const frequencies = new Float64Array(dims / 2);
  for (let j = 0; j < frequencies.length; j++) frequencies[j] = theta ** ((-2 * j) / dims);
  const baseScale = (config.qk_nope_head_dim + dims) ** -0.5;
  const scaling = config.rope_scaling;
  if (scaling === null || scaling === undefined) {
    return { inverseFrequencies: frequencies, softmaxScale: baseScale, magnitude: 1 };
  }
  const factor = scaling.factor ?? 1;
  const original = scaling.original_max_position_embeddings ?? config.max_position_embeddings;
  const correction = (rotations: number): number =>
    (dims * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = Math.max(Math.floor(correction(scaling.beta_fast)), 0);
  // dims - 1, not dims / 2 - 1: the bound of the original implementation, which published models were trained with.
  let high = Math.min(Math.ceil(correction(scaling.beta_slow)), dims - 1);
  if (low === high) high += 0.001;
  for (let j = 0; j < frequencies.length; j++) {
    const frequency = frequencies[j]!;
    const ramp = Math.min(Math.max((j - low) / (high - low), 0), 1);
    frequencies[j] = (frequency / factor) * ramp + frequency * (1 - ramp);
  }
  const allDims = scaling.mscale_all_dim ?? 0;
  const m = magnitudeOf(factor, allDims);
  // Hugging Face: with both given, cos and sin carry their quotient; with neither, the plain attention factor.
  const magnitude =
    scaling.mscale && scaling.mscale_all_dim
      ? magnitudeOf(factor, scaling.mscale) / magnitudeOf(factor, scaling.mscale_all_dim)
      : magnitudeOf(factor, 1);
  return { inverseFrequencies: frequencies, softmaxScale: baseScale * m * m, magnitude };
}

/** YaRN's `m(s) = 0.1 * mscale * ln(s) + 1`, 1 for no extension. */
function magnitudeOf(factor: number, mscale: number): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}

/**
 * Fills `out` `[positions, dims]` with the pairs `(cos, sin)` of every position, computed in float64 and rounded once.
 */
export function fillCosSin(tables: RopeTables, positions: number, out: Float32Array): void {
  const pairs = tables.inverseFrequencies.length;
  for (let position = 0; position < positions; position++) {
    const row = position * pairs * 2;
    for (let j = 0; j < pairs; j++) {
      const angle = position * tables.inverseFrequencies[j]!;
      out[row + 2 * j] = Math.cos(angle) * tables.magnitude;
      out[row + 2 * j + 1] = Math.sin(angle) * tables.magnitude;
    }
  }
}
