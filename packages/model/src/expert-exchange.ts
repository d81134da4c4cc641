import type { WaitOptions } from '@moestack/collectives';
import type { Arena, Kernels } from '@moestack/kernels';
import { RowViews } from './row-views.js';
import type { Allocator } from './workspace.js';

/** What a gate decided for the tokens of one step. */
export interface DispatchRequest {
  /** Row of the placement: the layer's number among those with experts. */
  layer: number;
  /** `[tokens, hidden]` */
  hidden: Float32Array;
  tokens: number;
  /** `[tokens, topK]` logical expert ids. */
  expertIds: Int32Array;
  /** `[tokens, topK]` */
  expertWeights: Float32Array;
  /** `[experts]` tokens of each expert. */
  expertCounts: Int32Array;
}

/** Rows that experts of this rank work on, grouped by expert. */
export interface ReceivedRows {
  /** Experts of this rank. */
  readonly experts: number;
  /** `[experts + 1]`: where each expert's rows begin. */
  readonly offsets: Int32Array;
  /** Inputs, `[rows, hidden]`. */
  readonly inputs: RowViews;
  /** Where the experts write their results, `[rows, hidden]`. */
  readonly outputs: RowViews;
}

/**
 * Moves tokens to their experts and the results back, in two phases each way, so that an implementation over ranks can
 * overlap them with computation. {@link LocalExpertExchange} serves a rank that holds every expert.
 */
export interface ExpertExchange {
  /** Whether other ranks take part, so that a rank without tokens must exchange all the same. */
  readonly spansRanks: boolean;
  /** Starts sending the rows of this rank to their experts. */
  dispatchSend(request: DispatchRequest): void;
  /** Rows for the experts of this rank, sorted by expert, once all have arrived. */
  dispatchReceive(): ReceivedRows;
  /** Starts sending the results of the experts back. */
  combineSend(): void;
  /** Adds each token's weighted expert results to `out` `[tokens, hidden]`. */
  combineReceive(out: Float32Array): void;
  /** Resolves when the receive that is due will not wait: for ranks that share a thread, and for event loops that must keep turning. */
  ready(options?: WaitOptions): Promise<void>;
}

/**
 * The exchange of a rank that holds all experts: a permutation by expert in its own memory. Results are added up as in mode `low-latency` over several ranks, so
 * that a token gets the same bits either way.
 */
export class LocalExpertExchange implements ExpertExchange {
  readonly spansRanks = false;
  private readonly kernels: Kernels;
  private readonly hidden: number;
  private readonly topK: number;
  private readonly inputs: Float32Array;
  private readonly sum: Float32Array;
  private readonly memory: Float32Array;
  private readonly received: ReceivedRows;
  private readonly offsets: Int32Array;
  private readonly next: Int32Array;
  /** `[tokens, topK]`: row of each assignment. */
  private readonly rows: Int32Array;
  private request: DispatchRequest | undefined;
  private outRows: RowViews | undefined;
  private out: Float32Array | undefined;

  constructor(kernels: Kernels, sizes: { hidden: number; topK: number; experts: number; maxTokens: number }) {
    const { hidden, topK, experts, maxTokens } = sizes;
    this.kernels = kernels;
    this.hidden = hidden;
    this.topK = topK;
    const buffers = exchangeBuffers(kernels.arena, sizes);
    this.inputs = buffers.inputs;
    this.sum = buffers.sum;
    this.memory = new Float32Array(kernels.arena.memory.buffer);
    this.offsets = new Int32Array(experts + 1);
    this.next = new Int32Array(experts);
    this.rows = new Int32Array(maxTokens * topK);
    this.received = {
      experts,
      offsets: this.offsets,
      inputs: new RowViews(buffers.inputs, hidden),
      outputs: new RowViews(buffers.outputs, hidden),
    };
  }

  dispatchSend(request: DispatchRequest): void {
    const { expertIds, expertCounts, tokens } = request;
    const { offsets, next, rows, topK, hidden, memory } = this;
    this.request = request;
    let total = 0;
    for (let expert = 0; expert < next.length; expert++) {
      offsets[expert] = total;
      next[expert] = total;
      total += expertCounts[expert]!;
    }
    offsets[next.length] = total;
    const from = request.hidden.byteOffset / 4;
    const to = this.inputs.byteOffset / 4;
    for (let token = 0; token < tokens; token++) {
      const source = from + token * hidden;
      for (let slot = token * topK; slot < (token + 1) * topK; slot++) {
        const expert = expertIds[slot]!;
        const row = next[expert]!;
        next[expert] = row + 1;
        rows[slot] = row;
        memory.copyWithin(to + row * hidden, source, source + hidden);
      }
    }
  }

  dispatchReceive(): ReceivedRows {
    return this.received;
  }

  combineSend(): void {
    // The results lie where combineReceive reads them.
  }

  combineReceive(out: Float32Array): void {
    const { request, rows, topK, hidden, kernels, sum } = this;
    if (request === undefined) return;
    if (this.out !== out || this.outRows === undefined) {
      this.out = out;
      this.outRows = new RowViews(out, hidden);
    }
    const { expertWeights, tokens } = request;
    for (let token = 0; token < tokens; token++) {
      sum.fill(0);
      for (let slot = token * topK; slot < (token + 1) * topK; slot++) {
        kernels.addScaled(this.received.outputs.from(rows[slot]!), expertWeights[slot]!, sum, hidden);
      }
      const target = this.outRows.from(token);
      kernels.add(target, sum, target, hidden);
    }
  }

  /** Row of one of the last request's selections, `[tokens, topK]`. */
  rowOf(selection: number): number {
    return this.rows[selection]!;
  }

  async ready(): Promise<void> {}
}

/** The arena buffers of a local exchange; also what its size is counted with. */
export function exchangeBuffers(
  allocator: Allocator | Arena,
  sizes: { hidden: number; topK: number; maxTokens: number },
): { inputs: Float32Array; outputs: Float32Array; sum: Float32Array } {
  const { hidden } = sizes;
  const length = sizes.maxTokens * sizes.topK * hidden;
  return { inputs: allocator.f32(length), outputs: allocator.f32(length), sum: allocator.f32(hidden) };
}
