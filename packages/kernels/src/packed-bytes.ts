import type { Arena } from './arena.js';
import { KernelsError } from './errors.js';
import { PackedWeight, type Weight } from './weight.js';

/** What a packed weight is made of, for moving it to another memory; views of its arena. */
export interface PackedBytes {
  readonly data: Uint8Array;
  /** Scales of blocks; empty without. */
  readonly scales: Uint8Array;
  /** (row, col) pairs whose code is NaN; empty without. */
  readonly nanCells: Int32Array;
}

/** The bytes of a weight, as views that stay valid as long as it. */
export function packedBytes(weight: Weight): PackedBytes {
  const { buffer, address, sizeBytes, scales, nanCells } = packed(weight);
  const scaleBytes = scaleBytesOf(weight);
  return {
    data: new Uint8Array(buffer, address, sizeBytes - scaleBytes),
    scales: new Uint8Array(buffer, scales, scaleBytes),
    nanCells: nanCells ?? new Int32Array(0),
  };
}

/**
 * Room in an arena for a weight of the same format, shape and layout as `weight`. It holds zeros until {@link packedBytes} of it are written.
 *
 * @param arena - that of the kernels that will use it.
 */
export function packedLike(weight: Weight, arena: Arena): Weight {
  const like = packed(weight);
  const scaleBytes = scaleBytesOf(weight);
  const scales = scaleBytes === 0 ? 0 : arena.u8(scaleBytes).byteOffset;
  const data = arena.u8(like.sizeBytes - scaleBytes);
  return new PackedWeight({
    ...fieldsOf(like),
    buffer: arena.memory.buffer,
    address: data.byteOffset,
    scales,
    nanCells: undefined,
  });
}

/** The same memory as a weight with these NaN cells: after bytes of another weight were written into it. */
export function packedWithNan(weight: Weight, nanCells: Int32Array): Weight {
  return new PackedWeight({
    ...fieldsOf(packed(weight)),
    nanCells: nanCells.length === 0 ? undefined : nanCells.slice(),
  });
}

function fieldsOf(weight: PackedWeight): Omit<PackedWeight, 'formatCode' | 'layoutCode'> {
  const { formatCode: _f, layoutCode: _l, ...fields } = weight;
  return fields;
}

function scaleBytesOf(weight: Weight): number {
  const { scales, rows, scaleStrideBytes } = packed(weight);
  return scales === 0 ? 0 : Math.ceil(rows / 128) * scaleStrideBytes;
}

function packed(weight: Weight): PackedWeight {
  if (weight instanceof PackedWeight) return weight;
  throw new KernelsError({
    code: 'kernels/bad-weight',
    message: 'expected a weight of Kernels.pack of this copy of the package',
    value: typeof weight,
    remedy: 'pass what pack returned',
  });
}
