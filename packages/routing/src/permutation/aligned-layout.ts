import { badConfig, requireInteger } from '../operands.js';
import { MAX_ELEMENTS, type Permutation } from './permutation.js';

/**
 * The sorted order with every expert's rows padded to a multiple of a block, as grouped matrix products want them (the layout of
 * `moe_align_block_size`). An expert without rows has no block.
 */
export interface AlignedLayout {
  readonly alignment: number;
  /** Rows, padding included. */
  paddedTotal: number;
  /** What `sortedIds` holds in padding: T * K. */
  padValue: number;
  /** Rows per expert, padding included [E]. */
  readonly paddedCounts: Int32Array;
  /** Start of each expert [E + 1]. */
  readonly paddedOffsets: Int32Array;
  /** Flat assignment of each row [paddedTotal]. */
  readonly sortedIds: Int32Array;
  /** Expert of each block of `alignment` rows [paddedTotal / alignment]. */
  readonly blockExpertIds: Int32Array;
  /** Row of each flat assignment [T * K]; -1 where there is none. */
  readonly inverse: Int32Array;
}

/** Pads a permutation to blocks of `alignment` rows (4, 16, 128 ...), in fresh arrays. */
export function alignPermutation(permutation: Permutation, alignment: number): AlignedLayout {
  const exact = paddedLength(permutation, checkAlignment(alignment));
  const layout = allocate(exact, permutation.experts, permutation.tokens * permutation.topK, alignment);
  alignPermutationInto(permutation, layout);
  return layout;
}

/** A layout with room for any batch that fits the permutation, for {@link alignPermutationInto}. */
export function allocateAlignedLayout(permutation: Permutation, alignment: number): AlignedLayout {
  const { maxTokens, topK, experts } = permutation;
  checkAlignment(alignment);
  const assignments = maxTokens * topK;
  // Only experts with a row are padded.
  const rows = assignments + Math.min(experts, assignments) * (alignment - 1);
  return allocate(Math.floor(rows / alignment) * alignment, experts, assignments, alignment);
}

/** {@link alignPermutation} into arrays of {@link allocateAlignedLayout}, without allocation. */
export function alignPermutationInto(permutation: Permutation, layout: AlignedLayout): void {
  const { experts, counts, offsets, sortedFlat } = permutation;
  const { alignment, paddedCounts, paddedOffsets, sortedIds, blockExpertIds, inverse } = layout;
  const padValue = permutation.tokens * permutation.topK;
  const total = paddedLength(permutation, alignment);
  if (
    total > sortedIds.length ||
    padValue > inverse.length ||
    experts !== paddedCounts.length ||
    total / alignment > blockExpertIds.length
  ) {
    throw badConfig(
      `expected a layout with room for ${total} rows of ${experts} experts, got ${sortedIds.length} of ${paddedCounts.length}`,
      total,
      'allocate the layout for this permutation',
    );
  }
  inverse.fill(-1, 0, padValue);
  let row = 0;
  for (let e = 0; e < experts; e++) {
    paddedOffsets[e] = row;
    for (let j = offsets[e]!; j < offsets[e + 1]!; j++, row++) {
      const flat = sortedFlat[j]!;
      sortedIds[row] = flat;
      inverse[flat] = row;
    }
    const padded = Math.ceil(counts[e]! / alignment) * alignment;
    const end = paddedOffsets[e]! + padded;
    sortedIds.fill(padValue, row, end);
    blockExpertIds.fill(e, paddedOffsets[e]! / alignment, end / alignment);
    paddedCounts[e] = padded;
    row = end;
  }
  paddedOffsets[experts] = row;
  layout.paddedTotal = row;
  layout.padValue = padValue;
}

function paddedLength({ counts }: Permutation, alignment: number): number {
  let total = 0;
  for (let e = 0; e < counts.length; e++) total += Math.ceil(counts[e]! / alignment) * alignment;
  return total;
}

function checkAlignment(alignment: number): number {
  return requireInteger('alignment', alignment, 1, 1 << 16);
}

function allocate(rows: number, experts: number, assignments: number, alignment: number): AlignedLayout {
  if (rows > MAX_ELEMENTS) {
    throw badConfig(
      `expected at most ${MAX_ELEMENTS} padded rows, got ${rows}`,
      rows,
      'use a smaller alignment or batch',
    );
  }
  return {
    alignment,
    paddedTotal: 0,
    padValue: 0,
    paddedCounts: new Int32Array(experts),
    paddedOffsets: new Int32Array(experts + 1),
    sortedIds: new Int32Array(rows),
    blockExpertIds: new Int32Array(rows / alignment),
    inverse: new Int32Array(assignments),
  };
}
