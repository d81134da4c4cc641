import type { WeightFormat } from '@moestack/kernels';
import type { Dimensions } from './dimensions.js';
import { exchangeBuffers } from './expert-exchange.js';
import { countExchange, type ExchangeSizes } from './expert-rows.js';
import { latentCacheLength } from './kv-cache.js';
import type { BatchLimits } from './step-batch.js';
import { countTensorExchange } from './tensor-exchange.js';
import type { TensorSpec } from './tensor-plan.js';
import { queryInput, shareDimensions, type TensorShare, tensorSizes } from './tensor-share.js';
import { MOST_PIECES } from './weight-slices.js';
import { CountingAllocator, createWorkspace } from './workspace.js';

/** Room for the kernels' own scratch: repacked blocks, attention scores, quantised activations. */
const KERNEL_SCRATCH_BYTES = 32 << 20;
const ELEMENT_BYTES: Readonly<Record<WeightFormat, number>> = { f32: 4, bf16: 2, e4m3fn: 1 };
/** Rows are padded to whole panels and columns to whole vectors; an upper bound for any layout. */
const PANEL_ROWS = 16;
const PANEL_COLS = 16;

/**
 * Bytes of the arena that holds weights, cache and activations. Pages are committed when first written, so that an
 * upper bound costs address space only.
 */
export function arenaBytes(
  plan: readonly TensorSpec[],
  formatOf: (spec: TensorSpec) => WeightFormat,
  d: Dimensions,
  limits: BatchLimits,
  overRanks: ExchangeSizes | undefined,
  microBatches: number,
  share: TensorShare,
): number {
  const own = shareDimensions(d, share);
  const count = new CountingAllocator();
  for (const spec of plan) count.add(weightBytes(spec, formatOf(spec)));
  for (let layer = 0; layer < d.layers; layer++) {
    count.f32(latentCacheLength({ ...limits, layers: 1, latentDims: d.latentDims }));
  }
  count.f32(limits.maxContextTokens * d.ropeDims);
  for (let i = 0; i < microBatches; i++) {
    createWorkspace(count, own, limits, queryInput(d, share));
    if (share.size > 1) countTensorExchange(count, tensorSizes(d, share, limits));
    if (overRanks !== undefined) countExchange(count, overRanks);
    else if (d.experts > 0) {
      exchangeBuffers(count, { hidden: d.hidden, topK: d.topK, maxTokens: limits.maxBatchTokens });
      // The rounded copies of an emulated exchange.
      count.f32(limits.maxBatchTokens * d.hidden);
    }
  }
  count.add(d.hidden * 4 + 4096);
  return count.bytes + KERNEL_SCRATCH_BYTES;
}

function weightBytes(spec: TensorSpec, format: WeightFormat): number {
  if (spec.role === 'vector') return spec.cols * 4;
  const { slice } = spec;
  const pieces = slice === undefined ? 1 : MOST_PIECES;
  const held = (axis: 'rows' | 'columns', size: number) => (slice?.axis === axis ? slice.count : size);
  const padded = (size: number, unit: number) => (Math.ceil(size / unit) + pieces - 1) * unit;
  const rows = padded(held('rows', spec.rows), PANEL_ROWS);
  const cols = padded(held('columns', spec.cols), PANEL_COLS);
  const scales = format === 'e4m3fn' ? (rows / 128 + pieces) * (cols / 128 + pieces) * 4 : 0;
  return rows * cols * ELEMENT_BYTES[format] + Math.ceil(scales) + pieces * 256;
}
