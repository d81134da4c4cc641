import { Arena, GateKernels, type GateOutput, type GateShape } from '@moestack/kernels';
import type { GroupScore, ResolvedRouterConfig, RouteIntoOptions } from './types.js';

/** Logits copied into the arena at a time: small enough to stay in the second-level cache. */
const CHUNK_ELEMENTS = 32_768;
/** Fewer tokens are not worth the copies. */
const LEAST_TOKENS = 4;
/** From here on a native copy is worth the view it needs. */
const NATIVE_COPY_ELEMENTS = 16_384;
const MAX_EXPERTS: number = CHUNK_ELEMENTS / LEAST_TOKENS;
/** Room for a chunk of logits, its outputs (at most as large each) and the working space. */
const ARENA_BYTES: number = CHUNK_ELEMENTS * 4 * 8;

/** Kernel and staging area in WebAssembly memory. */
interface Lane {
  readonly kernels: GateKernels;
  readonly logits: Float32Array;
  readonly bias: Float32Array;
  readonly out: { readonly [K in keyof GateOutput]-?: NonNullable<GateOutput[K]> };
}

/** Shared by all routers of a thread, since calls never nest: undefined before the first use, null where WebAssembly is missing. */
let shared: Lane | null | undefined;

/** The SIMD gate for configurations it covers; it gives the same bits as the scalar one. */
export class FastGate {
  readonly #config: ResolvedRouterConfig;
  readonly #shape: { -readonly [K in keyof GateShape]: GateShape[K] };

  constructor(config: ResolvedRouterConfig) {
    this.#config = config;
    this.#shape = {
      tokens: 0,
      experts: config.experts,
      groups: config.groups,
      topKGroups: config.topKGroups,
      topK: config.topK,
      scoring: config.scoring === 'softmax' ? 'softmax' : 'sigmoid',
      groupScore: 'max',
      normalize: config.normalize,
      scale: config.routedScalingFactor,
    };
  }

  /** Routes all tokens, or returns false without having written anything; operands have been checked. */
  route(logits: Float32Array, tokens: number, groupScore: GroupScore, options: RouteIntoOptions): boolean {
    if (tokens < LEAST_TOKENS || (groupScore !== 'max' && groupScore !== 'top2Sum')) return false;
    const lane = openLane();
    if (lane === null) return false;
    const { experts, topK, groups, topKGroups } = this.#config;
    const { bias, groups: chosen } = options;
    const { out } = lane;
    const shape = this.#shape;
    shape.groupScore = groupScore;
    if (bias !== undefined) copy(bias, 0, lane.bias, 0, experts);
    out.counts.fill(0, 0, experts);
    const step = Math.floor(CHUNK_ELEMENTS / experts);
    for (let from = 0; from < tokens; from += step) {
      const count = Math.min(step, tokens - from);
      shape.tokens = count;
      if (count * experts < NATIVE_COPY_ELEMENTS) {
        copy(logits, from * experts, lane.logits, 0, count * experts);
      } else lane.logits.set(logits.subarray(from * experts, (from + count) * experts));
      lane.kernels.gate(lane.logits, bias === undefined ? undefined : lane.bias, shape, out);
      copyIds(out.indices, options.indices, from * topK, count * topK);
      copy(out.weights, 0, options.weights, from * topK, count * topK);
      if (groups > 1 && chosen !== undefined) {
        copyIds(out.groups, chosen, from * topKGroups, count * topKGroups);
      }
    }
    copyIds(out.counts, options.counts, 0, experts);
    return true;
  }
}

/** A {@link FastGate} if the kernel covers the configuration. */
export function openFastGate(config: ResolvedRouterConfig): FastGate | undefined {
  const { experts, groups, precision, compat, softmaxOrder, topology, scoring } = config;
  const covered =
    precision === 'f32' &&
    compat === 'canonical' &&
    softmaxOrder === 'before' &&
    scoring !== 'sqrtSoftplus' &&
    topology?.nodeOfExpert === undefined &&
    experts % (4 * groups) === 0 &&
    experts <= MAX_EXPERTS;
  return covered ? new FastGate(config) : undefined;
}

/** A loop, since a native copy of a part would need a view of it, and decode steps shall allocate nothing. */
function copy(source: Float32Array, from: number, target: Float32Array, to: number, length: number): void {
  for (let i = 0; i < length; i++) target[to + i] = source[from + i]!;
}

function copyIds(source: Int32Array, target: Int32Array, to: number, length: number): void {
  for (let i = 0; i < length; i++) target[to + i] = source[i]!;
}

function openLane(): Lane | null {
  if (shared !== undefined) return shared;
  try {
    const arena = Arena.create({ maximumBytes: ARENA_BYTES });
    shared = {
      kernels: new GateKernels(arena),
      logits: arena.f32(CHUNK_ELEMENTS),
      bias: arena.f32(MAX_EXPERTS),
      out: {
        indices: arena.i32(CHUNK_ELEMENTS),
        weights: arena.f32(CHUNK_ELEMENTS),
        groups: arena.i32(CHUNK_ELEMENTS),
        counts: arena.i32(MAX_EXPERTS),
      },
    };
  } catch {
    // No WebAssembly SIMD, or no memory for it: the scalar gate gives the same decisions.
    shared = null;
  }
  return shared;
}
