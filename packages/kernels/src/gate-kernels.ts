import type { Arena } from './arena.js';
import { needCount, needLength } from './checks.js';
import { KernelsError } from './errors.js';
import { KernelsBase } from './kernels-base.js';
import { fractions } from './reference/exp64.js';
import type { KernelsOptions } from './types.js';

/** What a gate computes; see {@link GateKernels.gate}. */
export interface GateShape {
  /** Rows of logits, T. */
  readonly tokens: number;
  /** Routed experts, E. */
  readonly experts: number;
  /** Groups of consecutive experts, G; E / G is a multiple of 4. */
  readonly groups: number;
  /** Groups kept per token, L. */
  readonly topKGroups: number;
  /** Experts chosen per token, K. */
  readonly topK: number;
  readonly scoring: 'sigmoid' | 'softmax';
  /** Whether a group is ranked by its best biased score or by the sum of its two best. */
  readonly groupScore: 'max' | 'top2Sum';
  /** Whether the chosen weights are divided by their sum. */
  readonly normalize: boolean;
  /** Factor on every weight. */
  readonly scale: number;
}

/** Arrays that a gate fills. */
export interface GateOutput {
  /** Chosen experts, best first [T, K]. */
  readonly indices: Int32Array;
  /** Their weights [T, K]. */
  readonly weights: Float32Array;
  /** Kept groups, best first [T, L]; left alone when there is one group. */
  readonly groups?: Int32Array | undefined;
  /** Tokens per expert [E], added to what it holds. */
  readonly counts: Int32Array;
}

/**
 * Routing of mixture-of-experts tokens over one {@link Arena}. Make it outside of scopes: it keeps a table of 256 bytes in an arena that
 * may allocate. Calls on arena views allocate nothing.
 */
export class GateKernels extends KernelsBase {
  readonly #table: Float64Array | Uint8Array;

  /** Instantiates the inlined binary against the arena's memory, synchronously. */
  constructor(arena: Arena, options: KernelsOptions = {}) {
    super(arena, options);
    this.#table = fractions;
    if (arena.canAllocate) {
      this.#table = arena.u8(fractions.byteLength);
      this.#table.set(new Uint8Array(fractions.buffer, fractions.byteOffset, fractions.byteLength));
    }
  }

  /** out = {@link exp64} of each element, bit for bit; x and out may be the same. NaN is not looked for. */
  exp64(x: Float64Array, out: Float64Array): void {
    needLength('out', out, x.length);
    this.stats.calls++;
    const staging = this.staging;
    staging.begin();
    this.wasm.exp64(staging.input(x), staging.output(out), x.length, staging.input(this.#table));
    staging.end();
  }

  /**
   * Chooses experts and their weights: score (float64, rounded to float32), add the bias, keep the best groups, take the best experts in them.
   *
   * Equals `reference.gate` bit for bit: ties go to the lowest index. Logits and bias must be finite.
   *
   * @param logits - [T, E].
   * @param bias - [E], for the selection only.
   */
  gate(logits: Float32Array, bias: Float32Array | undefined, shape: GateShape, out: GateOutput): void {
    const { tokens, experts, groups, topKGroups, topK } = shape;
    needCount('tokens', tokens, 0);
    needCount('experts', experts, 4);
    needCount('groups', groups, 1);
    needCount('topKGroups', topKGroups, 1);
    needCount('topK', topK, 1);
    if (experts % (4 * groups) !== 0 || topKGroups > groups || topK > (experts / groups) * topKGroups) {
      throw new KernelsError({
        code: 'kernels/bad-size',
        message: `expected groups of a multiple of 4 experts that hold topK, got ${experts} experts, ${topKGroups} of ${groups} groups, top ${topK}`,
        value: experts / groups,
        remedy: 'use reference.gate for other shapes',
      });
    }
    needLength('logits', logits, tokens * experts);
    if (bias !== undefined) needLength('bias', bias, experts);
    needLength('indices', out.indices, tokens * topK);
    needLength('weights', out.weights, tokens * topK);
    needLength('counts', out.counts, experts);
    const chosen = groups > 1 ? out.groups : undefined;
    if (chosen !== undefined) needLength('groups', chosen, tokens * topKGroups);
    this.stats.calls++;
    const staging = this.staging;
    staging.begin();
    const wasm = this.wasm;
    wasm.gate(
      staging.input(logits),
      bias === undefined ? 0 : staging.input(bias),
      staging.input(this.#table),
      tokens,
      experts,
      groups,
      topKGroups,
      topK,
      shape.scoring === 'softmax' ? 1 : 0,
      shape.groupScore === 'top2Sum' ? 2 : 1,
      shape.normalize ? 1 : 0,
      shape.scale,
      staging.output(out.indices),
      staging.output(out.weights),
      chosen === undefined ? 0 : staging.output(chosen),
      staging.output(out.counts),
      staging.reserve(wasm.gateScratchBytes(experts, groups, topKGroups, topK)),
    );
    staging.end();
  }
}
