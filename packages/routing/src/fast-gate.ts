import { Arena, GateKernels, type GateShape } from '@moestack/kernels';
import type { GroupScore, ResolvedRouterConfig, RouteIntoOptions } from './types.js';

/** Logits copied into the arena at a time: small enough to stay in the second-level cache. */
const CHUNK_ELEMENTS = 32_768;
/** Fewer tokens are not worth the copies. */
const LEAST_TOKENS = 4;
/** Room for a chunk of logits, its outputs (at most as large each) and the working space. */
const ARENA_BYTES: number = CHUNK_ELEMENTS * 4 * 8;

/** Shared by all routers of a thread, since calls never nest: undefined before the first use, null where WebAssembly is missing. */
let shared: GateKernels | null | undefined;

/** The SIMD gate for configurations it covers; it gives the same bits as the scalar one. */
export class FastGate {
  readonly #config: ResolvedRouterConfig;

  constructor(config: ResolvedRouterConfig) {
    this.#config = config;
  }

  /** Routes all tokens, or returns false without having written anything; operands have been checked. */
  route(logits: Float32Array, tokens: number, groupScore: GroupScore, options: RouteIntoOptions): boolean {
    const { experts, topK, groups, topKGroups, scoring } = this.#config;
    if (tokens < LEAST_TOKENS || scoring === 'sqrtSoftplus') return false;
    if (groupScore !== 'max' && groupScore !== 'top2Sum') return false;
    const kernels = openKernels();
    if (kernels === null) return false;
    const { bias, groups: chosen, counts } = options;
    counts.fill(0, 0, experts);
    const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / experts));
    for (let from = 0; from < tokens; from += step) {
      const to = Math.min(tokens, from + step);
      const shape: GateShape = {
        tokens: to - from,
        experts,
        groups,
        topKGroups,
        topK,
        scoring,
        groupScore,
        normalize: this.#config.normalize,
        scale: this.#config.routedScalingFactor,
      };
      kernels.gate(logits.subarray(from * experts, to * experts), bias, shape, {
        indices: options.indices.subarray(from * topK, to * topK),
        weights: options.weights.subarray(from * topK, to * topK),
        groups: groups > 1 ? chosen?.subarray(from * topKGroups, to * topKGroups) : undefined,
        counts: counts.subarray(0, experts),
      });
    }
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
    experts <= CHUNK_ELEMENTS / LEAST_TOKENS;
  return covered ? new FastGate(config) : undefined;
}

function openKernels(): GateKernels | null {
  if (shared === undefined) {
    try {
      shared = new GateKernels(Arena.create({ maximumBytes: ARENA_BYTES }));
    } catch {
      // No WebAssembly SIMD, or no memory for it: the scalar gate gives the same decisions.
      shared = null;
    }
  }
  return shared;
}
