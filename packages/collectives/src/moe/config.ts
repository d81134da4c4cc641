import { invalidConfig, needInteger } from './checks.js';

/**
 * How tokens travel.
 *
 * - `direct`: one message for each distinct (token, destination rank).
 * - `hierarchical`: one message for each distinct (token, other node), to the rank with the source's local index there, which
 *   forwards it to each destination rank of its node.
 * - `low-latency`: one message for each selection, into the slot of its expert; weights are applied by combine.
 */
export type DispatchMode = 'direct' | 'hierarchical' | 'low-latency';

/** Element type of the rows that dispatch sends. `fp8` is E4M3 with one scale for each 128 channels. */
export type PayloadFormat = 'f32' | 'bf16' | 'fp8';

/** Element type of the rows that combine sends back. */
export type CombineFormat = 'f32' | 'bf16';

/** How low-latency dispatch chooses FP8 scales: plain float32, rounded up to a power of two, or that as an E8M0 exponent byte. */
export type Fp8ScaleMode = 'f32' | 'powerOfTwo' | 'ue8m0';

/** Options of a dispatcher; every rank of the communicator passes the same. */
export interface DispatcherOptions {
  readonly mode: DispatchMode;
  /** Physical experts over all ranks, a multiple of the number of ranks: rank r owns experts r * E/R .. r * E/R + E/R - 1. */
  readonly experts: number;
  /** Selections per token (K); -1 means none. */
  readonly topK: number;
  /** Channels of a row: even, and a multiple of 128 with `fp8`. */
  readonly hidden: number;
  /** Most tokens that one rank passes to one dispatch. */
  readonly maxTokensPerRank: number;
  /** Default `bf16`. */
  readonly payload?: PayloadFormat;
  /** Default `f32` with payload `f32`, else `bf16`. */
  readonly combinePayload?: CombineFormat;
  /** Low-latency `fp8` only. Default `f32`. */
  readonly scale?: Fp8ScaleMode;
  /** Counts per expert, and group starts of the expanded layout, are rounded up to a multiple of it. Default 1. */
  readonly expertAlignment?: number;
  /** Also lay received rows out by expert, one row for each (token, local expert). Not for `low-latency`, which always does. Default false. */
  readonly expand?: boolean;
  /** Zero the rows that alignment leaves unused in the expanded layout. Default false. */
  readonly zeroPadding?: boolean;
  /** Send no counts: results have their largest size, unused rows have -1 for every expert. Not for `low-latency`. Default false. */
  readonly worstCase?: boolean;
  /** Most rows that one rank receives in one dispatch; default: what the worst routing needs. */
  readonly maxReceiveTokens?: number;
  /** Messages that travel between two ranks at a time; bounds the communication buffers. Default: all of them. */
  readonly chunkTokens?: number;
  /** Results that can be alive at a time, at least 1. Default 2, for two overlapping micro-batches. */
  readonly inFlight?: number;
}

/** {@link DispatcherOptions} with every default filled in and the shape of the communicator. */
export interface DispatcherConfig extends Required<DispatcherOptions> {
  readonly ranks: number;
  readonly nodes: number;
  readonly ranksPerNode: number;
  /** Experts of one rank, E/R. */
  readonly localExperts: number;
}

/** Channels that share one FP8 scale. */
export const SCALE_BLOCK = 128;

const MODES: readonly string[] = ['direct', 'hierarchical', 'low-latency'];
const MAX_TOP_K = 64;
const MAX_IN_FLIGHT = 16;

/** Shape of a communicator as dispatchers need it: ranks of one node are consecutive. */
export interface DispatchTopology {
  readonly nodes: number;
  readonly ranksPerNode: number;
}

/** Checks options against a topology and fills in defaults. */
export function resolveConfig(options: DispatcherOptions, topology: DispatchTopology): DispatcherConfig {
  const { nodes, ranksPerNode } = topology;
  const ranks = nodes * ranksPerNode;
  if (!MODES.includes(options.mode)) {
    throw invalidConfig('mode', options.mode, `one of ${MODES.join(', ')}`);
  }
  const { mode } = options;
  const experts = needInteger('experts', options.experts, 1, 1 << 20);
  if (experts % ranks !== 0) {
    throw invalidConfig('experts', experts, `a multiple of the ${ranks} ranks`);
  }
  const topK = needInteger('topK', options.topK, 1, MAX_TOP_K);
  const payload = options.payload ?? 'bf16';
  if (!['f32', 'bf16', 'fp8'].includes(payload)) {
    throw invalidConfig('payload', payload, 'f32, bf16 or fp8');
  }
  const hidden = needInteger('hidden', options.hidden, 2, 1 << 20);
  const unit = payload === 'fp8' ? SCALE_BLOCK : 2;
  if (hidden % unit !== 0) {
    throw invalidConfig('hidden', hidden, `a multiple of ${unit} with payload ${payload}`);
  }
  const combinePayload = options.combinePayload ?? (payload === 'f32' ? 'f32' : 'bf16');
  if (!['f32', 'bf16'].includes(combinePayload)) {
    throw invalidConfig('combinePayload', combinePayload, 'f32 or bf16');
  }
  const lowLatency = mode === 'low-latency';
  const scale = options.scale ?? 'f32';
  if (!['f32', 'powerOfTwo', 'ue8m0'].includes(scale)) {
    throw invalidConfig('scale', scale, 'f32, powerOfTwo or ue8m0');
  }
  if (scale !== 'f32' && !(lowLatency && payload === 'fp8')) {
    throw invalidConfig(
      'scale',
      scale,
      'f32, since only low-latency dispatch with payload fp8 computes scales',
    );
  }
  const expand = options.expand ?? false;
  const worstCase = options.worstCase ?? false;
  if (lowLatency && (expand || worstCase)) {
    throw invalidConfig(
      expand ? 'expand' : 'worstCase',
      true,
      'false in low-latency mode, whose layout is fixed',
    );
  }
  const maxTokensPerRank = needInteger('maxTokensPerRank', options.maxTokensPerRank, 1, 1 << 24);
  const worstRows = lowLatency ? (experts / ranks) * ranks * maxTokensPerRank : ranks * maxTokensPerRank;
  const maxReceiveTokens = needInteger(
    'maxReceiveTokens',
    options.maxReceiveTokens ?? worstRows,
    1,
    worstRows,
  );
  if (maxReceiveTokens !== worstRows && (worstCase || lowLatency)) {
    throw invalidConfig(
      'maxReceiveTokens',
      maxReceiveTokens,
      `${worstRows}, since counts are not exchanged first`,
    );
  }
  const perPeer = maxTokensPerRank * (lowLatency ? topK : 1);
  const chunkTokens = needInteger('chunkTokens', options.chunkTokens ?? perPeer, 1, perPeer);
  if (worstCase && chunkTokens !== perPeer) {
    throw invalidConfig('chunkTokens', chunkTokens, `${perPeer} with worstCase`);
  }
  return {
    mode,
    experts,
    topK,
    hidden,
    maxTokensPerRank,
    payload,
    combinePayload,
    scale,
    expertAlignment: needInteger('expertAlignment', options.expertAlignment ?? 1, 1, 1 << 16),
    expand,
    zeroPadding: options.zeroPadding ?? false,
    worstCase,
    maxReceiveTokens,
    chunkTokens,
    inFlight: needInteger('inFlight', options.inFlight ?? 2, 1, MAX_IN_FLIGHT),
    ranks,
    nodes,
    ranksPerNode,
    localExperts: experts / ranks,
  };
}
