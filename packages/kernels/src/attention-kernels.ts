import { needCount, needLength, needStride, span } from './checks.js';
import { ElementwiseKernels } from './elementwise-kernels.js';
import { KernelsError } from './errors.js';
import type { CausalAttentionShape, LatentAttentionShape } from './types.js';

/** Attention kernels. */
export abstract class AttentionKernels extends ElementwiseKernels {
  /**
   * Absorbed multi-head latent attention of one token over a paged cache of one layer (DeepSeek-V2, section 2.1):
   * out[h] = sum_t softmax_t(scale * q[h] . cache[t]) * cache[t][0 .. rank).
   *
   * @param q - `[heads, rank + ropeDims]`, absorbed and rotated
   * @param cache - `[blocks, blockSize, rank + ropeDims]`
   * @param blockTable - physical block of each blockSize tokens
   * @param out - `[heads, rank]`
   */
  latentAttention(
    q: Float32Array,
    cache: Float32Array,
    blockTable: Int32Array,
    out: Float32Array,
    shape: LatentAttentionShape,
  ): void {
    const { heads, rank, ropeDims, contextLength, blockSize } = shape;
    const qOffset = shape.qOffset ?? 0;
    const outOffset = shape.outOffset ?? 0;
    const tableOffset = shape.blockTableOffset ?? 0;
    needCount('heads', heads, 1);
    needCount('rank', rank, 1);
    needCount('ropeDims', ropeDims, 0);
    needCount('contextLength', contextLength, 1);
    needCount('blockSize', blockSize, 1);
    const width = rank + ropeDims;
    const used = Math.ceil(contextLength / blockSize);
    needLength('q', q, qOffset + heads * width);
    needLength('out', out, outOffset + heads * rank);
    needLength('blockTable', blockTable, tableOffset + used);
    const blocks = Math.floor(cache.length / (blockSize * width));
    for (let i = 0; i < used; i++) {
      const block = blockTable[tableOffset + i]!;
      if (!(block >= 0 && block < blocks)) throw badBlock(block, blocks);
    }
    this.stats.calls++;
    const staging = this.staging;
    staging.begin();
    const qAddress = staging.input(q) + qOffset * 4;
    const cacheAddress = staging.input(cache);
    const table = staging.input(blockTable) + tableOffset * 4;
    const outAddress = staging.output(out) + outOffset * 4;
    const scratch = staging.reserve(this.wasm.latentScratchBytes(rank, ropeDims, contextLength));
    this.wasm.latentAttention(
      qAddress,
      cacheAddress,
      table,
      outAddress,
      heads,
      rank,
      ropeDims,
      contextLength,
      blockSize,
      shape.scale,
      scratch,
    );
    staging.end();
  }

  /**
   * Causal attention of one sequence over expanded keys and values: query i attends to keys 0 .. start + i.
   *
   * @param q - `[m, heads, qkDims]`
   * @param k - `[t, heads, qkDims]`
   * @param v - `[t, heads, vDims]`
   * @param out - `[m, heads, vDims]`
   */
  causalAttention(
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    out: Float32Array,
    shape: CausalAttentionShape,
  ): void {
    const { m, t, heads, qkDims, vDims, start } = shape;
    const qHead = shape.qHeadStride ?? qkDims;
    const kHead = shape.kHeadStride ?? qkDims;
    const vHead = shape.vHeadStride ?? vDims;
    const outHead = shape.outHeadStride ?? vDims;
    const qStride = shape.qStride ?? heads * qHead;
    const kStride = shape.kStride ?? heads * kHead;
    const vStride = shape.vStride ?? heads * vHead;
    const outStride = shape.outStride ?? heads * outHead;
    needCount('m', m, 0);
    needCount('heads', heads, 1);
    needCount('qkDims', qkDims, 1);
    needCount('vDims', vDims, 1);
    needCount('start', start, 0);
    needCount('t', t, start + m);
    needStride('qHeadStride', qHead, 0);
    needStride('kHeadStride', kHead, 0);
    needStride('vHeadStride', vHead, 0);
    needStride('outHeadStride', outHead, vDims);
    needStride('qStride', qStride, 0);
    needStride('kStride', kStride, 0);
    needStride('vStride', vStride, 0);
    needStride('outStride', outStride, vDims);
    needLength('q', q, span(m, qStride, (heads - 1) * qHead + qkDims));
    needLength('k', k, span(start + m, kStride, (heads - 1) * kHead + qkDims));
    needLength('v', v, span(start + m, vStride, (heads - 1) * vHead + vDims));
    needLength('out', out, span(m, outStride, (heads - 1) * outHead + vDims));
    this.stats.calls++;
    if (m === 0) return;
    const staging = this.staging;
    staging.begin();
    const qAddress = staging.input(q);
    const kAddress = staging.input(k);
    const vAddress = staging.input(v);
    const outAddress = staging.output(out);
    const scratch = staging.reserve(this.wasm.causalScratchBytes(qkDims, vDims, start + m));
    this.wasm.causalAttention(
      qAddress,
      kAddress,
      vAddress,
      outAddress,
      m,
      heads,
      qkDims,
      vDims,
      start,
      shape.scale,
      qStride * 4,
      kStride * 4,
      vStride * 4,
      outStride * 4,
      qHead * 4,
      kHead * 4,
      vHead * 4,
      outHead * 4,
      scratch,
    );
    staging.end();
  }
}

function badBlock(block: number, blocks: number): KernelsError {
  return new KernelsError({
    code: 'kernels/bad-block',
    message: `expected block ids from 0 to ${blocks - 1}, got ${block}`,
    value: block,
    remedy: 'pass the block table of this cache',
  });
}
