import type { Precision } from '../cost/deployment.js';

/** Storage of a weight matrix: `fp8` as in DeepSeek's checkpoints, `fp4` as NVFP4. */
export type WeightFormat = Precision['weights'];

/** Weights of some tensors. */
export interface Weights {
  /** Values, scales not counted. */
  readonly parameters: number;
  /** Scales counted. */
  readonly bytes: number;
}

export const noWeights: Weights = { parameters: 0, bytes: 0 };

/** FP8: a float32 scale for every 128 x 128 block. */
const blockSize = 128;
/** NVFP4: an 8-bit scale for 16 values of a row, and two float32 scales for the matrix (weights, inputs). */
const fp4Group = 16;
const fp4MatrixScaleBytes = 8;

/** A matrix [out, in] in `format`. */
export function linear(out: number, inner: number, format: WeightFormat): Weights {
  const parameters = out * inner;
  switch (format) {
    case 'bf16':
      return { parameters, bytes: 2 * parameters };
    case 'fp8':
      return {
        parameters,
        bytes: parameters + 4 * Math.ceil(out / blockSize) * Math.ceil(inner / blockSize),
      };
    case 'fp4':
      return {
        parameters,
        bytes: Math.ceil(parameters / 2) + out * Math.ceil(inner / fp4Group) + fp4MatrixScaleBytes,
      };
  }
}

/** A vector of `length` values that are not quantised. */
export function vector(length: number, bytesPerValue: 2 | 4 = 2): Weights {
  return { parameters: length, bytes: bytesPerValue * length };
}

export function sum(...parts: readonly Weights[]): Weights {
  let parameters = 0;
  let bytes = 0;
  for (const part of parts) {
    parameters += part.parameters;
    bytes += part.bytes;
  }
  return { parameters, bytes };
}

export function times(count: number, { parameters, bytes }: Weights): Weights {
  return { parameters: count * parameters, bytes: count * bytes };
}
