import type { WeightFormat } from '@moestack/kernels';
import type { Dimensions } from './dimensions.js';
import { exchangeBuffers } from './expert-exchange.js';
import { countExchange, type ExchangeSizes } from './expert-rows.js';
import { latentCacheLength } from './kv-cache.js';
import type { BatchLimits } from './step-batch.js';
import type { TensorSpec } from './tensor-plan.js';
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
  overRanks?: ExchangeSizes,
  microBatches: number = 1,
): number {
  const count = new CountingAllocator();
  for (const spec of plan) count.add(weightBytes(spec, formatOf(spec)));
  for (let layer = 0; layer < d.layers; layer++) {
    count.f32(latentCacheLength({ ...limits, layers: 1, latentDims: d.latentDims }));
  }
  count.f32(limits.maxContextTokens * d.ropeDims);
  for (let i = 0; i < microBatches; i++) {
    createWorkspace(count, d, limits);
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
  const rows = Math.ceil(spec.rows / PANEL_ROWS) * PANEL_ROWS;
  const cols = Math.ceil(spec.cols / PANEL_COLS) * PANEL_COLS;
  const scales = format === 'e4m3fn' ? Math.ceil(spec.rows / 128) * Math.ceil(spec.cols / 128) * 4 : 0;
  return rows * cols * ELEMENT_BYTES[format] + scales + 256;
}
