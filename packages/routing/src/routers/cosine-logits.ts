import {
  requireExactLength,
  requireFinite,
  requireInteger,
  requireLength,
  requireNumber,
} from '../operands.js';

/** Shortest vector that is divided by its length. */
const LENGTH_FLOOR = 1e-12;

/**
 * Logits of a cosine router (Swin-MoE, Tutel): scale * cos(x_t, w_e).
 *
 * @param x - projected hidden states [T, H].
 * @param expertVectors - one vector per expert [E, H].
 * @param options - `scale`: inverse temperature, default 1.
 * @returns logits [T, E]
 */
export function cosineLogits(
  x: Float32Array,
  expertVectors: Float32Array,
  options: { experts: number; columns: number; scale?: number; out?: Float32Array },
): Float32Array {
  const experts = requireInteger('experts', options.experts, 1, 1 << 20);
  const columns = requireInteger('columns', options.columns, 1, 1 << 20);
  const scale = requireNumber('scale', options.scale ?? 1);
  const tokens = Math.floor(x.length / columns);
  requireExactLength('x', x.length, tokens * columns, '[tokens, columns]');
  requireExactLength('expertVectors', expertVectors.length, experts * columns, '[experts, columns]');
  requireFinite('x', x, x.length);
  requireFinite('expertVectors', expertVectors, expertVectors.length);
  const out = options.out ?? new Float32Array(tokens * experts);
  requireLength('out', out.length, tokens * experts, '[tokens, experts]');
  const norms = new Float64Array(experts);
  for (let e = 0; e < experts; e++) norms[e] = length(expertVectors, e * columns, columns);
  for (let token = 0; token < tokens; token++) {
    const norm = length(x, token * columns, columns);
    for (let e = 0; e < experts; e++) {
      let product = 0;
      for (let c = 0; c < columns; c++) product += x[token * columns + c]! * expertVectors[e * columns + c]!;
      out[token * experts + e] = (scale * product) / (norm * norms[e]!);
    }
  }
  return out;
}

function length(values: Float32Array, base: number, columns: number): number {
  let squares = 0;
  for (let c = base; c < base + columns; c++) squares += values[c]! * values[c]!;
  return Math.max(Math.sqrt(squares), LENGTH_FLOOR);
}
