import type { Kernels } from '@moestack/kernels';
import type { ReceivedRows } from './expert-exchange.js';
import { SCALE_CHANNELS } from './payload-rows.js';
import { RowViews } from './row-views.js';
import type { Allocator } from './workspace.js';

/** Sizes of the arena buffers of an exchange between ranks. */
export interface ExchangeSizes {
  readonly hidden: number;
  readonly topK: number;
  readonly ranks: number;
  readonly slotsPerRank: number;
  readonly maxTokens: number;
}

/** Rows that one rank can receive: every token of every rank, once for each selection that can be here. */
export function mostReceivedRows(sizes: ExchangeSizes): number {
  return sizes.ranks * sizes.maxTokens * Math.min(sizes.topK, sizes.slotsPerRank);
}

/** Adds up what an exchange between ranks takes from the arena: rows in and out, results, quantised rows. */
export function countExchange(allocator: Allocator, sizes: ExchangeSizes): void {
  const received = mostReceivedRows(sizes) * sizes.hidden;
  const own = sizes.maxTokens * sizes.hidden;
  allocator.f32(received);
  allocator.f32(received);
  allocator.f32(own);
  allocator.f32(Math.ceil(own / 4));
  allocator.f32(Math.ceil(own / SCALE_CHANNELS));
}

/** Rows of the experts of this rank, in its arena, by expert. */
export class ExpertRows implements ReceivedRows {
  readonly experts: number;
  readonly offsets: Int32Array;
  readonly inputs: RowViews;
  readonly outputs: RowViews;
  readonly input: Float32Array;
  readonly output: Float32Array;

  constructor(kernels: Kernels, sizes: ExchangeSizes) {
    const length = mostReceivedRows(sizes) * sizes.hidden;
    this.experts = sizes.slotsPerRank;
    this.offsets = new Int32Array(sizes.slotsPerRank + 1);
    this.input = kernels.arena.f32(length);
    this.output = kernels.arena.f32(length);
    this.inputs = new RowViews(this.input, sizes.hidden);
    this.outputs = new RowViews(this.output, sizes.hidden);
  }
}
