import type { Arena } from '@moestack/kernels';
import { ModelError } from './errors.js';
import { checkBlock } from './step-batch.js';

/** Sizes of a {@link LatentCache}. */
export interface LatentCacheShape {
  readonly layers: number;
  readonly blocks: number;
  readonly blockSizeTokens: number;
  /** Values per token and layer: `kv_lora_rank + qk_rope_head_dim`. */
  readonly latentDims: number;
}

/** Float32 values that a cache of this shape holds. */
export function latentCacheLength(shape: LatentCacheShape): number {
  return shape.layers * shape.blocks * shape.blockSizeTokens * shape.latentDims;
}

/**
 * The paged cache of multi-head latent attention: for each token and layer the normalised latent and the rotated
 * shared key, `[layers][blocks][blockSizeTokens][latentDims]` in float32, and nothing else.
 */
export class LatentCache {
  readonly shape: LatentCacheShape;
  /** One view per layer, `[blocks, blockSizeTokens, latentDims]`. */
  readonly layers: readonly Float32Array[];
  /** Bytes of one block over all layers. */
  readonly blockBytes: number;
  private readonly memory: Float32Array;

  constructor(arena: Arena, shape: LatentCacheShape) {
    this.shape = shape;
    const layers: Float32Array[] = [];
    for (let layer = 0; layer < shape.layers; layer++) {
      layers.push(arena.f32(shape.blocks * shape.blockSizeTokens * shape.latentDims));
    }
    this.layers = layers;
    this.blockBytes = shape.layers * shape.blockSizeTokens * shape.latentDims * 4;
    // copyWithin over the whole memory moves rows between views without making views of rows.
    this.memory = new Float32Array(arena.memory.buffer);
  }

  /** Writes rows `[count, latentDims]` of `source` from `sourceRow` on to positions `start..` of one sequence. */
  write(
    layer: number,
    source: Float32Array,
    sourceRow: number,
    start: number,
    count: number,
    blockTable: Int32Array,
    blockTableOffset: number,
  ): void {
    const { blockSizeTokens, latentDims } = this.shape;
    const page = this.layers[layer]!.byteOffset / 4;
    let from = source.byteOffset / 4 + sourceRow * latentDims;
    let position = start;
    const end = start + count;
    while (position < end) {
      const slot = position % blockSizeTokens;
      const rows = Math.min(blockSizeTokens - slot, end - position);
      const block = blockTable[blockTableOffset + (position - slot) / blockSizeTokens]!;
      this.memory.copyWithin(
        page + (block * blockSizeTokens + slot) * latentDims,
        from,
        from + rows * latentDims,
      );
      from += rows * latentDims;
      position += rows;
    }
  }

  /** Collects positions `0..count` of one sequence into `out` `[count, latentDims]`. */
  gather(
    layer: number,
    count: number,
    blockTable: Int32Array,
    blockTableOffset: number,
    out: Float32Array,
  ): void {
    const { blockSizeTokens, latentDims } = this.shape;
    const page = this.layers[layer]!.byteOffset / 4;
    let to = out.byteOffset / 4;
    for (let position = 0; position < count; position += blockSizeTokens) {
      const rows = Math.min(blockSizeTokens, count - position);
      const from =
        page + blockTable[blockTableOffset + position / blockSizeTokens]! * blockSizeTokens * latentDims;
      this.memory.copyWithin(to, from, from + rows * latentDims);
      to += rows * latentDims;
    }
  }

  /** Copies `count` blocks, all layers of each, into bytes: `[count][layers][blockSizeTokens][latentDims]`. */
  exportBlocks(blocks: Int32Array, count: number, out?: Uint8Array): Uint8Array {
    this.checkBlocks(blocks, count);
    const bytes = out ?? new Uint8Array(count * this.blockBytes);
    if (bytes.byteLength < count * this.blockBytes)
      throw badLength(bytes.byteLength, count * this.blockBytes);
    const pageBytes = this.blockBytes / this.shape.layers;
    let to = 0;
    for (let i = 0; i < count; i++) {
      for (const layer of this.layers) {
        bytes.set(new Uint8Array(layer.buffer, layer.byteOffset + blocks[i]! * pageBytes, pageBytes), to);
        to += pageBytes;
      }
    }
    return bytes;
  }

  /** The reverse of {@link LatentCache.exportBlocks}. */
  importBlocks(blocks: Int32Array, count: number, bytes: Uint8Array): void {
    this.checkBlocks(blocks, count);
    if (bytes.byteLength < count * this.blockBytes)
      throw badLength(bytes.byteLength, count * this.blockBytes);
    const pageBytes = this.blockBytes / this.shape.layers;
    let from = 0;
    for (let i = 0; i < count; i++) {
      for (const layer of this.layers) {
        const page = new Uint8Array(layer.buffer, layer.byteOffset + blocks[i]! * pageBytes, pageBytes);
        page.set(bytes.subarray(from, from + pageBytes));
        from += pageBytes;
      }
    }
  }

  private checkBlocks(blocks: Int32Array, count: number): void {
    if (count > blocks.length) throw badLength(blocks.length, count);
    for (let i = 0; i < count; i++) checkBlock(blocks[i]!, this.shape.blocks);
  }
}

function badLength(length: number, expected: number): ModelError {
  return new ModelError({
    code: 'model/bad-blocks',
    message: `expected at least ${expected} entries, got ${length}`,
    value: length,
    remedy: 'size block lists by count and byte buffers by count * blockBytes',
  });
}
