import type { Communicator, RunOptions, WaitOptions } from '../communicator/communicator.js';
import { alignUp, invalidInput, needElements } from './checks.js';
import type { Biases } from './combine-input.js';
import type { DispatcherConfig } from './config.js';
import { type CombineRows, DirectCombine } from './direct-combine.js';
import { DirectDispatch } from './direct-dispatch.js';
import { DispatcherBase, type Exchange, needRouteFree, nextSlot } from './dispatcher-base.js';
import { createSums, type SlotEnvironment, TAGS_PER_SLOT } from './environment.js';
import { type ExpandedLayout, ExpandedRows } from './expanded-rows.js';
import { DispatchHandle } from './handle.js';
import { HierarchicalCombine } from './hierarchical-combine.js';
import { HierarchicalDispatch } from './hierarchical-dispatch.js';
import { checkSelections } from './layout.js';
import { ReceivedRows, type RowArray } from './received-rows.js';
import { Route } from './route.js';
import { checkRows, TokenPacker } from './token-packer.js';

/** Tokens to dispatch: with fresh selections, or with a handle whose routing is replayed. */
export interface DispatchInput {
  /** [T, H] in the payload's element type. Must not change before the dispatch is received. */
  readonly x: RowArray;
  /** [T, H/128] with payload `fp8`: the scales of rows that the caller has quantised. */
  readonly scales?: Float32Array;
  /** [T, K] physical expert ids, -1 for none. Without `handle`. */
  readonly topkIdx?: Int32Array;
  /** [T, K]; default: all 0. */
  readonly topkWeights?: Float32Array;
  /** Tokens (T); default: topkIdx.length / K. */
  readonly tokens?: number;
  /** Replays the routing of an earlier dispatch: the backward pass of a combine. Selections are not sent. */
  readonly handle?: DispatchHandle;
}

/** What a rank received. Arrays have room for `maxReceiveTokens` rows and are overwritten `inFlight` dispatches later. */
export interface DispatchResult {
  /** Rows received: one for each distinct (source token, this rank), in the order (source rank, source token). */
  readonly rows: number;
  /** [rows, H] in the payload's element type. */
  readonly x: RowArray;
  /** [rows, H/128] with payload `fp8`. */
  readonly scales: Float32Array | undefined;
  /** [rows, K] local expert ids, -1 where the selection is not on this rank. Not for a cached dispatch. */
  readonly topkIdx: Int32Array;
  /** [rows, K], 0 where `topkIdx` is -1. */
  readonly topkWeights: Float32Array;
  readonly srcRank: Int32Array;
  readonly srcIdx: Int32Array;
  /** [E/R] selections of each local expert, rounded up to `expertAlignment`. */
  readonly tokensPerExpert: Int32Array;
  /** [R, R] tokens that ranks 0..i together sent to rank j; undefined when no counts were exchanged (`worstCase`). */
  readonly rankPrefixMatrix: Int32Array | undefined;
  /** The same rows by expert, with option `expand`; not for a cached dispatch. */
  readonly expanded: ExpandedLayout | undefined;
  readonly handle: DispatchHandle;
}

/** Rows to return to the ranks they came from. */
export interface CombineInput {
  /** Of the dispatch whose rows these are; of any earlier one for the backward pass of a dispatch. */
  readonly handle: DispatchHandle;
  /** [rows, H] in the combine format, in the order of the dispatch result; several experts of one row are already summed. Must not change before the combine is received. */
  readonly x?: Float32Array | Uint16Array;
  /** Instead of `x`: [expanded rows, H] float32 or bfloat16, summed here over the slots of each row in float32. */
  readonly expanded?: Float32Array | Uint16Array;
  /** With `expanded`: multiply each row by its weight first. Default false. */
  readonly weighted?: boolean;
  /** [rows, K] that are summed like rows: gradients of the weights. Default: all 0. */
  readonly topkWeights?: Float32Array;
  /** At most two [T, H] arrays in the combine format that are added first. */
  readonly biases?: Biases;
  /** [T, H] in the combine format; default: an array of the dispatcher, overwritten `inFlight` combines later. */
  readonly out?: Float32Array | Uint16Array;
}

/** What came back. */
export interface CombineResult {
  /** `[T, H]`: `out` of the input, or the first T rows of an array of the dispatcher. */
  readonly x: Float32Array | Uint16Array;
  /** `[T, K]`: sums of the weights that came back. */
  readonly topkWeights: Float32Array;
}

interface DispatchSlot {
  busy: boolean;
  generation: number;
  readonly route: Route;
  readonly rows: ReceivedRows;
  readonly packer: TokenPacker;
  readonly phase: DirectDispatch | HierarchicalDispatch;
  readonly expanded: ExpandedRows | undefined;
  readonly tokensPerExpert: Int32Array;
  readonly prefix: Int32Array;
}

interface CombineSlot {
  busy: boolean;
  readonly phase: DirectCombine | HierarchicalCombine;
  readonly out: Float32Array | Uint16Array;
  readonly weights: Float32Array;
  /** Routing that the combine in flight reads. */
  route: Route | undefined;
}

/**
 * Dispatch and combine for training and prefill (modes `direct` and `hierarchical`): one row for each distinct (token, rank), weights are
 * not applied by combine. Created by {@link createDispatcher}; every rank makes the same calls in the same order.
 */
export class Dispatcher extends DispatcherBase {
  readonly #dispatches: readonly DispatchSlot[];
  readonly #combines: readonly CombineSlot[];
  #dispatchSequence = 0;
  #combineSequence = 0;

  /** @internal */
  constructor(comm: Communicator, config: DispatcherConfig) {
    super(comm, config);
    const slots = Array.from({ length: config.inFlight }, (_, slot) => slot);
    const sums = createSums(config);
    const environment = (slot: number): SlotEnvironment => ({
      transport: this.transport,
      config,
      counters: this.counters,
      sums,
      firstTag: slot * TAGS_PER_SLOT,
    });
    this.#dispatches = slots.map((slot) => this.#openDispatch(environment(slot)));
    this.#combines = slots.map((slot) => this.#openCombine(environment(slot)));
  }

  /**
   * Begins a dispatch: sends what can be sent without waiting.
   *
   * @throws {@link CollectivesError} for input that does not fit, before anything is changed.
   */
  dispatchSend(input: DispatchInput): Exchange<DispatchResult> {
    this.needOpen();
    const slot = this.#dispatches[nextSlot('dispatch', this.#dispatchSequence, this.#dispatches)]!;
    needRouteFree(slot.route, this.#combines);
    const { topkIdx, handle } = input;
    if ((topkIdx === undefined) === (handle === undefined)) {
      throw invalidInput('topkIdx', 'either topkIdx or handle', topkIdx === undefined ? 'none' : 'both');
    }
    const source = handle?.routeOf(this);
    const tokens = source?.tokens ?? this.#tokensOf(input);
    if (topkIdx !== undefined) checkSelections(topkIdx, tokens, this.config);
    slot.packer.check(input, tokens, input.topkWeights);
    if (source !== undefined && source !== slot.route) slot.route.set(source);
    slot.generation++;
    slot.busy = true;
    this.#dispatchSequence++;
    slot.packer.begin(input, tokens, topkIdx, input.topkWeights);
    const generation = slot.generation;
    slot.phase.begin(slot.route, tokens, topkIdx);
    const exchange = this.track(slot.phase, (failed) => {
      slot.busy = false;
      slot.packer.end();
      return this.#dispatched(slot, generation, topkIdx !== undefined && !failed);
    });
    this.progress();
    return exchange;
  }

  /** Blocks until the rows of a dispatch are here. Not where ranks share one thread, unless it is already complete. */
  dispatchReceive(sent: Exchange<DispatchResult>, options: RunOptions = {}): DispatchResult {
    return this.finishSync('dispatch', sent, options);
  }

  /** Resolves when the rows of a dispatch are here. */
  dispatchReceiveAsync(sent: Exchange<DispatchResult>, options: WaitOptions = {}): Promise<DispatchResult> {
    return this.finishAsync('dispatch', sent, options);
  }

  /** Both phases of a dispatch. */
  async dispatch(input: DispatchInput, options: WaitOptions = {}): Promise<DispatchResult> {
    return this.dispatchReceiveAsync(this.dispatchSend(input), options);
  }

  /** Begins a combine: sends what can be sent without waiting. */
  combineSend(input: CombineInput): Exchange<CombineResult> {
    this.needOpen();
    const slot = this.#combines[nextSlot('combine', this.#combineSequence, this.#combines)]!;
    const route = input.handle.routeOf(this);
    const rows = this.#combineRows(input, route, slot);
    slot.busy = true;
    slot.route = route;
    this.#combineSequence++;
    slot.phase.begin(route, rows);
    const exchange = this.track(slot.phase, () => {
      slot.busy = false;
      slot.route = undefined;
      return { x: rows.out, topkWeights: rows.outWeights };
    });
    this.progress();
    return exchange;
  }

  /** Blocks until the rows of a combine are back and summed. */
  combineReceive(sent: Exchange<CombineResult>, options: RunOptions = {}): CombineResult {
    return this.finishSync('combine', sent, options);
  }

  /** Resolves when the rows of a combine are back and summed. */
  combineReceiveAsync(sent: Exchange<CombineResult>, options: WaitOptions = {}): Promise<CombineResult> {
    return this.finishAsync('combine', sent, options);
  }

  /** Both phases of a combine. */
  async combine(input: CombineInput, options: WaitOptions = {}): Promise<CombineResult> {
    return this.combineReceiveAsync(this.combineSend(input), options);
  }

  #tokensOf(input: DispatchInput): number {
    const tokens = input.tokens ?? input.topkIdx!.length / this.config.topK;
    if (!Number.isInteger(tokens) || tokens < 0 || tokens > this.config.maxTokensPerRank) {
      throw invalidInput(
        'tokens',
        `an integer from 0 to maxTokensPerRank = ${this.config.maxTokensPerRank}`,
        tokens,
      );
    }
    return tokens;
  }

  #dispatched(slot: DispatchSlot, generation: number, routed: boolean): DispatchResult {
    const { route, rows } = slot;
    const { config } = this;
    if (routed && config.worstCase) {
      rows.topkIdx.fill(-1, route.rows * config.topK);
      rows.topkWeights.fill(0, route.rows * config.topK);
    }
    if (routed) slot.expanded?.expand(route, rows, true);
    const handle = new DispatchHandle(this, route, () => slot.generation === generation);
    return {
      rows: route.rows,
      x: rows.x,
      scales: rows.scales,
      topkIdx: rows.topkIdx,
      topkWeights: rows.topkWeights,
      srcRank: rows.srcRank,
      srcIdx: route.srcIdx,
      tokensPerExpert: this.#expertCounts(slot, routed),
      rankPrefixMatrix: route.counted ? this.#prefix(slot) : undefined,
      expanded: routed ? slot.expanded : undefined,
      handle,
    };
  }

  /** Selections per local expert: told by the counts, or counted in the rows where none were exchanged. */
  #expertCounts(slot: DispatchSlot, routed: boolean): Int32Array {
    const { config } = this;
    const counts = slot.tokensPerExpert;
    if (!routed) return counts;
    if (config.worstCase) {
      counts.fill(0);
      for (let i = 0; i < slot.route.rows * config.topK; i++) {
        const expert = slot.rows.topkIdx[i]!;
        if (expert >= 0) counts[expert] = counts[expert]! + 1;
      }
    } else {
      counts.set(slot.phase.tokensPerExpert);
    }
    for (let e = 0; e < counts.length; e++) {
      this.expertLoad[e] = this.expertLoad[e]! + counts[e]!;
      counts[e] = alignUp(counts[e]!, config.expertAlignment);
    }
    return counts;
  }

  #prefix(slot: DispatchSlot): Int32Array {
    const { ranks } = this.config;
    const { counts } = slot.route;
    for (let j = 0; j < ranks; j++) slot.prefix[j] = counts[j]!;
    for (let i = ranks; i < ranks * ranks; i++) slot.prefix[i] = slot.prefix[i - ranks]! + counts[i]!;
    return slot.prefix;
  }

  #combineRows(input: CombineInput, route: Route, slot: CombineSlot): CombineRows {
    const { hidden, topK, combinePayload } = this.config;
    if ((input.x === undefined) === (input.expanded === undefined)) {
      throw invalidInput('x', 'either x or expanded', input.x === undefined ? 'none' : 'both');
    }
    if (input.x !== undefined) checkRows('x', input.x, combinePayload, route.rows * hidden);
    if (input.topkWeights !== undefined) needElements('topkWeights', input.topkWeights, route.rows * topK);
    const biases = input.biases ?? [];
    if (biases.length > 2) throw invalidInput('biases', 'at most two arrays', biases.length);
    for (const bias of biases) checkRows('biases', bias, combinePayload, route.tokens * hidden);
    const out = input.out ?? slot.out;
    checkRows('out', out, combinePayload, route.tokens * hidden);
    if (out.byteOffset % 4 !== 0)
      throw invalidInput('out', 'an array that starts at a multiple of 4 bytes', out.byteOffset);
    return {
      x: input.x ?? this.#reduceExpanded(input, route),
      topkWeights: input.topkWeights,
      biases: input.biases,
      out,
      outWeights: slot.weights,
    };
  }

  #reduceExpanded(input: CombineInput, route: Route): Float32Array | Uint16Array {
    const { hidden } = this.config;
    const owner = this.#dispatches.find((slot) => slot.route === route);
    if (owner?.expanded === undefined) {
      throw invalidInput(
        'expanded',
        'a handle of an expanded dispatch that was not retained',
        'another handle',
      );
    }
    const y = input.expanded!;
    checkRows('expanded', y, y instanceof Float32Array ? 'f32' : 'bf16', owner.expanded.rows * hidden);
    return owner.expanded.reduce(route, y, input.weighted ?? false);
  }

  #openDispatch(env: SlotEnvironment): DispatchSlot {
    const { transport, config } = env;
    const rows = new ReceivedRows(transport, config);
    const packer = new TokenPacker(config, transport.rank);
    const phase =
      config.mode === 'direct'
        ? new DirectDispatch(env, packer, rows)
        : new HierarchicalDispatch(env, packer, rows);
    return {
      busy: false,
      generation: 0,
      route: new Route(config),
      rows,
      packer,
      phase,
      expanded: config.expand ? new ExpandedRows(env) : undefined,
      tokensPerExpert: new Int32Array(config.localExperts),
      prefix: new Int32Array(config.ranks * config.ranks),
    };
  }

  #openCombine(env: SlotEnvironment): CombineSlot {
    const { hidden, maxTokensPerRank, topK, combinePayload, mode } = env.config;
    const elements = maxTokensPerRank * hidden;
    return {
      busy: false,
      phase: mode === 'direct' ? new DirectCombine(env) : new HierarchicalCombine(env),
      out: combinePayload === 'f32' ? new Float32Array(elements) : new Uint16Array(elements),
      weights: new Float32Array(maxTokensPerRank * topK),
      route: undefined,
    };
  }
}
