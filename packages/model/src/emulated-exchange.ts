import type { PayloadFormat } from '@moestack/collectives';
import { encode, quantize } from '@moestack/fp8';
import type { Kernels } from '@moestack/kernels';
import { createReplicaSelector } from '@moestack/placement';
import {
  type DispatchRequest,
  type ExpertExchange,
  LocalExpertExchange,
  type ReceivedRows,
} from './expert-exchange.js';
import type { ExpertLayout } from './parallel-options.js';
import { decodeE4m3, e4m3Table, SCALE_CHANNELS } from './payload-rows.js';
import { ReplicaRouting } from './replica-routing.js';

/** Ranks that an emulation pretends to have. */
export interface EmulatedRanks {
  readonly ranks: number;
  /** Nodes of equal size that the ranks stand on, default 1; matters to `hierarchical`. */
  readonly nodes?: number;
  /** The rank whose tokens these are, default 0. */
  readonly rank?: number;
}

const round = Math.fround;
const AMAX_FLOOR: number = round(1e-4);

/**
 * The roundings and the order of additions of expert parallelism, on one rank that holds every expert: what a payload format costs in accuracy, before there are
 * ranks. Gives the same bits as the ranks do. Written for clarity, in scalar code.
 */
export class EmulatedExchange implements ExpertExchange {
  readonly spansRanks = false;
  private readonly local: LocalExpertExchange;
  private readonly layout: ExpertLayout;
  private readonly hidden: number;
  private readonly topK: number;
  private readonly ranksPerNode: number;
  private readonly routing: ReplicaRouting;
  private readonly rounded: Float32Array;
  private readonly request: DispatchRequest;
  private slots: Int32Array = new Int32Array(0);

  constructor(
    kernels: Kernels,
    sizes: { hidden: number; topK: number; experts: number; maxTokens: number },
    layout: ExpertLayout,
    emulated: EmulatedRanks,
  ) {
    const { hidden, topK, maxTokens } = sizes;
    this.local = new LocalExpertExchange(kernels, sizes);
    this.layout = layout;
    this.hidden = hidden;
    this.topK = topK;
    this.ranksPerNode = emulated.ranks / (emulated.nodes ?? 1);
    const selector = createReplicaSelector(layout.plan, {
      policy: layout.replicas,
      sourceGpu: emulated.rank ?? 0,
    });
    this.routing = new ReplicaRouting(selector, topK, maxTokens);
    this.rounded = kernels.arena.f32(maxTokens * hidden);
    const none = new Int32Array(0);
    this.request = {
      layer: 0,
      hidden: this.rounded,
      tokens: 0,
      expertIds: none,
      expertWeights: new Float32Array(0),
      expertCounts: none,
    };
  }

  dispatchSend(request: DispatchRequest): void {
    const { hidden, rounded, layout } = this;
    const length = request.tokens * hidden;
    this.slots = this.routing.select(request);
    rounded.set(request.hidden.subarray(0, length));
    if (layout.payload === 'bf16') roundAll(rounded, length);
    if (layout.payload === 'fp8') {
      if (layout.mode === 'low-latency') castLowLatency(rounded, length);
      else castTiles(rounded, request.tokens, hidden);
    }
    Object.assign(this.request, request, { hidden: rounded });
    this.local.dispatchSend(this.request);
  }

  dispatchReceive(): ReceivedRows {
    return this.local.dispatchReceive();
  }

  combineSend(): void {}

  combineReceive(out: Float32Array): void {
    const sum = new Float32Array(this.hidden);
    for (let token = 0; token < this.request.tokens; token++) {
      sum.fill(0);
      if (this.layout.mode === 'low-latency') this.sumSelections(token, sum);
      else this.sumNodes(token, sum);
      roundTo(this.layout.payload, sum);
      const row = token * this.hidden;
      for (let i = 0; i < sum.length; i++) out[row + i] = out[row + i]! + sum[i]!;
    }
  }

  async ready(): Promise<void> {}

  private sumSelections(token: number, sum: Float32Array): void {
    for (let slot = token * this.topK; slot < (token + 1) * this.topK; slot++) {
      const row = this.resultOf(slot);
      roundTo(this.layout.payload, row);
      addWeighted(sum, row, this.request.expertWeights[slot]!);
    }
  }

  private sumNodes(token: number, sum: Float32Array): void {
    const { ranks, mode, payload } = this.layout;
    const perNode = mode === 'hierarchical' ? this.ranksPerNode : 1;
    for (let node = 0; node < ranks / perNode; node++) {
      const nodeSum = new Float32Array(this.hidden);
      let isUsed = false;
      for (let rank = node * perNode; rank < (node + 1) * perNode; rank++) {
        const rankSum = this.sumRank(token, rank);
        if (rankSum === undefined) continue;
        isUsed = true;
        roundTo(payload, rankSum);
        for (let i = 0; i < nodeSum.length; i++) nodeSum[i] = nodeSum[i]! + rankSum[i]!;
      }
      if (!isUsed) continue;
      roundTo(payload, nodeSum);
      for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + nodeSum[i]!;
    }
  }

  /** What the experts of one rank make of a token, or undefined if it does not go there. */
  private sumRank(token: number, rank: number): Float32Array | undefined {
    let sum: Float32Array | undefined;
    for (let slot = token * this.topK; slot < (token + 1) * this.topK; slot++) {
      if (Math.floor(this.slots[slot]! / this.layout.slotsPerRank) !== rank) continue;
      sum ??= new Float32Array(this.hidden);
      addWeighted(sum, this.resultOf(slot), this.request.expertWeights[slot]!);
    }
    return sum;
  }

  private resultOf(slot: number): Float32Array {
    const row = this.local.rowOf(slot);
    return this.local.dispatchReceive().outputs.from(row).slice(0, this.hidden);
  }
}

function addWeighted(sum: Float32Array, row: Float32Array, weight: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + round(weight * row[i]!);
}

/** Results of every payload but `f32` come back as bfloat16. */
function roundTo(payload: PayloadFormat, values: Float32Array): void {
  if (payload !== 'f32') roundAll(values, values.length);
}

function roundAll(values: Float32Array, length: number): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, length);
  for (let i = 0; i < length; i++) {
    const word = bits[i]!;
    const isNan = (word & 0x7fffffff) > 0x7f800000;
    bits[i] = isNan ? 0x7fc00000 : (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  }
}

function castTiles(values: Float32Array, rows: number, hidden: number): void {
  if (rows === 0) return;
  const tiles = quantize(values.slice(0, rows * hidden), [rows, hidden], {
    kind: 'tile',
    tile: [1, SCALE_CHANNELS],
    format: 'e4m3fn',
  });
  decodeE4m3(tiles.codes as Uint8Array, tiles.scales, 0, rows, hidden, values, 0);
}

/** Low-latency dispatch multiplies by 448 / amax, where the tiles of `@moestack/fp8` divide by the scale. */
function castLowLatency(values: Float32Array, length: number): void {
  const table = e4m3Table();
  for (let start = 0; start < length; start += SCALE_CHANNELS) {
    const tile = values.subarray(start, start + SCALE_CHANNELS);
    let amax = AMAX_FLOOR;
    for (const value of tile) amax = Math.max(amax, Math.abs(value));
    const scale = round(amax * round(1 / 448));
    const factor = round(448 / amax);
    const codes = encode(
      'e4m3fn',
      tile.map((value) => value * factor),
    );
    for (let i = 0; i < tile.length; i++) tile[i] = table[codes[i]!]! * scale;
  }
}
