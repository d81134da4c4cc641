import type { CheckpointQuantization } from './checkpoint-index.js';
import { CheckpointError, quoted } from './errors.js';
import type { SafetensorsDtype } from './safetensors-dtype.js';
import { elementCount, type TensorEntry } from './safetensors-header.js';

const SCALED_DTYPES: ReadonlySet<SafetensorsDtype> = new Set([
  'F8_E4M3',
  'F8_E5M2',
  'F8_E4M3FNUZ',
  'F8_E5M2FNUZ',
] as const);
const SCALE_DTYPES: ReadonlySet<SafetensorsDtype> = new Set([
  'F32',
  'F64',
  'BF16',
  'F16',
  'F8_E8M0',
] as const);

/** How the scales of a weight lie over it: `[blockRows, blockCols]` scales of `block` elements, ragged at the ends. */
export interface ScaleLayout {
  readonly rows: number;
  readonly cols: number;
  readonly block: readonly [rows: number, cols: number];
  readonly blockRows: number;
  readonly blockCols: number;
}

/** A tensor and the file that holds it. */
export interface LocatedEntry extends TensorEntry {
  readonly file: string;
}

/**
 * The scale layout of a tensor, or undefined when it has none.
 *
 * A scale tensor of one element covers the whole weight, whatever its rank.
 *
 * @throws {@link CheckpointError} when the scale tensor does not match the weight, or is missing in a checkpoint
 * whose configuration says `fp8`.
 */
export function scaleLayout(
  name: string,
  weight: LocatedEntry,
  scale: LocatedEntry | undefined,
  quantization: CheckpointQuantization,
): ScaleLayout | undefined {
  if (!SCALED_DTYPES.has(weight.dtype)) return undefined;
  const [rows = 1, cols = 1] = weight.shape;
  if (scale === undefined) {
    if (quantization.method !== 'fp8' || weight.shape.length !== 2 || !name.endsWith('.weight')) {
      return undefined;
    }
    throw new CheckpointError(weight.file, {
      code: 'fp8/missing-scale',
      message: `tensor ${quoted(name)} is ${weight.dtype}, but the checkpoint has no scales for it`,
      value: name,
      remedy: `add ${quoted(`${name}_scale_inv`)} to the checkpoint`,
    });
  }
  if (!SCALE_DTYPES.has(scale.dtype)) {
    throw badScale(name, scale, `expected scales of ${[...SCALE_DTYPES].join(', ')}, got ${scale.dtype}`);
  }
  if (scale.shape.every((dimension) => dimension === 1)) {
    const elements = elementCount(weight);
    const whole = [1, Math.max(elements, 1)] as const;
    return { rows: 1, cols: elements, block: whole, blockRows: 1, blockCols: 1 };
  }
  const [blockRows, blockCols] = [
    Math.ceil(rows / quantization.block[0]),
    Math.ceil(cols / quantization.block[1]),
  ];
  const matches =
    weight.shape.length === 2 &&
    scale.shape.length === 2 &&
    scale.shape[0] === blockRows &&
    scale.shape[1] === blockCols;
  if (!matches) {
    const block = quantization.block.join('x');
    const message = `expected [${blockRows}, ${blockCols}] scales for [${weight.shape.join(', ')}] in ${block} blocks, got [${scale.shape.join(', ')}]`;
    throw badScale(name, scale, message);
  }
  return { rows, cols, block: quantization.block, blockRows, blockCols };
}

function badScale(name: string, scale: LocatedEntry, message: string): CheckpointError {
  return new CheckpointError(scale.file, {
    code: 'fp8/bad-scale',
    message: `scales of ${quoted(name)}: ${message}`,
    value: { dtype: scale.dtype, shape: scale.shape },
    remedy: 'check weight_block_size in config.json and the scale tensor',
  });
}

/** Multiplies `values` `[rows, cols]` by their block's scale, rounding each product to float32. */
export function applyBlockScales(values: Float32Array, scales: Float32Array, layout: ScaleLayout): void {
  const { rows, cols, block, blockCols } = layout;
  for (let row = 0; row < rows; row++) {
    const scaleRow = Math.floor(row / block[0]) * blockCols;
    for (let first = 0, tile = 0; first < cols; first += block[1], tile++) {
      const scale = scales[scaleRow + tile]!;
      const end = row * cols + Math.min(first + block[1], cols);
      for (let i = row * cols + first; i < end; i++) values[i] = values[i]! * scale;
    }
  }
}
