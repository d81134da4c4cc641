import type { Communicator, RunOptions, WaitOptions } from '../communicator/communicator.js';
import { invalidInput, needElements } from './checks.js';
import type { DispatcherConfig } from './config.js';
import { DispatcherBase, type Exchange, needRouteFree, nextSlot } from './dispatcher-base.js';
import { createSums, type SlotEnvironment, TAGS_PER_SLOT } from './environment.js';
import { DispatchHandle } from './handle.js';
import { LowLatencyCombine } from './low-latency-combine.js';
import { ExpertRows, LowLatencyDispatch } from './low-latency-dispatch.js';
import type { RowArray } from './received-rows.js';
import { Route } from './route.js';
import { checkRows } from './token-packer.js';

/** Tokens of a decode step. */
export interface LowLatencyInput {
  /** `[T, H]`: bfloat16 codes or float32 values with payload `fp8` (cast on the way), else the payload's element type. */
  readonly x: Float32Array | Uint16Array;
  /** [T, K] physical expert ids, -1 for none. Without `handle`. */
  readonly topkIdx?: Int32Array;
  /** Tokens (T); default: topkIdx.length / K. */
  readonly tokens?: number;
  /** Replays the routing of an earlier dispatch with the masks of then. */
  readonly handle?: DispatchHandle;
}

/** Rows by expert: expert e owns rows e * rowsPerExpert and on, of which the first counts[e] are in use. Overwritten `inFlight` dispatches later. */
export interface LowLatencyResult {
  /** R * maxTokensPerRank. */
  readonly rowsPerExpert: number;
  /** [E/R, rowsPerExpert, H] in the payload's element type. */
  readonly x: RowArray;
  /** [E/R, rowsPerExpert, H/128] with payload `fp8` and scales `f32` or `powerOfTwo`. */
  readonly scales: Float32Array | undefined;
  /** [E/R, rowsPerExpert, H/128] E8M0 exponent bytes with scales `ue8m0`. */
  readonly scaleCodes: Uint8Array | undefined;
  /** [E/R]. */
  readonly counts: Int32Array;
  /** [E/R, R] rows from each source rank, and the first of them inside its expert. */
  readonly rangeCounts: Int32Array;
  readonly rangeBegins: Int32Array;
  /** [E/R, rowsPerExpert]; inside an expert rows are in the order (source rank, source token). */
  readonly srcRank: Int32Array;
  readonly srcIdx: Int32Array;
  readonly handle: DispatchHandle;
}

/** Expert rows to return. */
export interface LowLatencyCombineInput {
  readonly handle: DispatchHandle;
  /** [E/R, rowsPerExpert, H] in the combine format. Must not change before the combine is received, as `topkWeights`. */
  readonly x: Float32Array | Uint16Array;
  /** [T, K]. */
  readonly topkWeights: Float32Array;
  /** [T, H]; default: an array of the dispatcher, overwritten `inFlight` combines later. */
  readonly out?: Float32Array | Uint16Array;
}

/** What came back. */
export interface LowLatencyCombineResult {
  /** [T, H]. */
  readonly x: Float32Array | Uint16Array;
}

interface DispatchSlot {
  busy: boolean;
  generation: number;
  readonly route: Route;
  readonly rows: ExpertRows;
  readonly mask: Uint8Array;
  readonly phase: LowLatencyDispatch;
}

interface CombineSlot {
  busy: boolean;
  route: Route | undefined;
  readonly mask: Uint8Array;
  readonly phase: LowLatencyCombine;
  readonly out: Float32Array | Uint16Array;
}

/**
 * Dispatch and combine for decoding (mode `low-latency`): one message for each selection straight into the rows of its expert, FP8 cast inside,
 * weights applied by combine. Ranks can be masked. Created by {@link createDispatcher}; every rank makes the same calls in the same order.
 */
export class LowLatencyDispatcher extends DispatcherBase {
  readonly #dispatches: readonly DispatchSlot[];
  readonly #combines: readonly CombineSlot[];
  readonly #mask: Uint8Array;
  #dispatchSequence = 0;
  #combineSequence = 0;

  /** @internal */
  constructor(comm: Communicator, config: DispatcherConfig) {
    super(comm, config);
    this.#mask = new Uint8Array(config.ranks);
    const slots = Array.from({ length: config.inFlight }, (_, slot) => slot);
    const sums = createSums(config);
    const environment = (slot: number): SlotEnvironment => ({
      transport: this.transport,
      config,
      counters: this.counters,
      sums,
      firstTag: slot * TAGS_PER_SLOT,
    });
    this.#dispatches = slots.map((slot) => {
      const mask = new Uint8Array(config.ranks);
      const rows = new ExpertRows(this.transport, config);
      const phase = new LowLatencyDispatch(environment(slot), rows, mask);
      return { busy: false, generation: 0, route: new Route(config), rows, mask, phase };
    });
    this.#combines = slots.map((slot) => {
      const mask = new Uint8Array(config.ranks);
      const elements = config.maxTokensPerRank * config.hidden;
      return {
        busy: false,
        route: undefined,
        mask,
        phase: new LowLatencyCombine(environment(slot), mask),
        out: config.combinePayload === 'f32' ? new Float32Array(elements) : new Uint16Array(elements),
      };
    });
  }

  /**
   * Leaves a rank out of later exchanges (or takes it in again): nothing is sent to it or awaited from it, combine skips its part without
   * renormalising. Every rank that goes on must mask the same ranks.
   */
  maskRank(rank: number, masked = true): void {
    if (!Number.isInteger(rank) || rank < 0 || rank >= this.config.ranks || rank === this.rank) {
      throw invalidInput('rank', `another rank below ${this.config.ranks}`, rank);
    }
    this.#mask[rank] = masked ? 1 : 0;
  }

  /** Takes every rank in again. */
  clearMask(): void {
    this.#mask.fill(0);
  }

  /** Masked ranks, ascending. */
  maskedRanks(): number[] {
    return Array.from(this.#mask.keys()).filter((rank) => this.#mask[rank] === 1);
  }

  /** Begins a dispatch: casts, and sends what can be sent without waiting. */
  dispatchSend(input: LowLatencyInput): Exchange<LowLatencyResult> {
    this.needOpen();
    const { config } = this;
    const slot = this.#dispatches[nextSlot('dispatch', this.#dispatchSequence, this.#dispatches)]!;
    needRouteFree(slot.route, this.#combines);
    const { topkIdx, handle } = input;
    if ((topkIdx === undefined) === (handle === undefined)) {
      throw invalidInput('topkIdx', 'either topkIdx or handle', topkIdx === undefined ? 'none' : 'both');
    }
    const source = handle?.routeOf(this);
    const tokens = source?.tokens ?? input.tokens ?? topkIdx!.length / config.topK;
    if (!Number.isInteger(tokens) || tokens < 0 || tokens > config.maxTokensPerRank) {
      throw invalidInput(
        'tokens',
        `an integer from 0 to maxTokensPerRank = ${config.maxTokensPerRank}`,
        tokens,
      );
    }
    const format =
      config.payload === 'fp8' ? (input.x instanceof Float32Array ? 'f32' : 'bf16') : config.payload;
    checkRows('x', input.x, format, tokens * config.hidden);
    slot.mask.set(this.#mask);
    slot.generation++;
    if (topkIdx !== undefined) slot.phase.plan(slot.route, tokens, topkIdx);
    else if (source !== slot.route) slot.route.set(source!);
    slot.busy = true;
    this.#dispatchSequence++;
    const generation = slot.generation;
    slot.phase.begin(slot.route, input.x, topkIdx !== undefined);
    const exchange = this.track(slot.phase, () => {
      slot.busy = false;
      return this.#dispatched(slot, generation);
    });
    this.progress();
    return exchange;
  }

  /** Blocks until the rows are here. */
  dispatchReceive(sent: Exchange<LowLatencyResult>, options: RunOptions = {}): LowLatencyResult {
    return this.finishSync('low-latency dispatch', sent, options);
  }

  /** Resolves when the rows are here. */
  dispatchReceiveAsync(
    sent: Exchange<LowLatencyResult>,
    options: WaitOptions = {},
  ): Promise<LowLatencyResult> {
    return this.finishAsync('low-latency dispatch', sent, options);
  }

  /** Both phases of a dispatch. */
  async dispatch(input: LowLatencyInput, options: WaitOptions = {}): Promise<LowLatencyResult> {
    return this.dispatchReceiveAsync(this.dispatchSend(input), options);
  }

  /** Begins a combine: sends what can be sent without waiting. */
  combineSend(input: LowLatencyCombineInput): Exchange<LowLatencyCombineResult> {
    this.needOpen();
    const { ranks, localExperts, maxTokensPerRank, hidden, topK, combinePayload } = this.config;
    const slot = this.#combines[nextSlot('combine', this.#combineSequence, this.#combines)]!;
    const route = input.handle.routeOf(this);
    checkRows('x', input.x, combinePayload, localExperts * ranks * maxTokensPerRank * hidden);
    if (!(input.topkWeights instanceof Float32Array)) {
      throw invalidInput('topkWeights', 'a Float32Array', typeof input.topkWeights);
    }
    needElements('topkWeights', input.topkWeights, route.tokens * topK);
    const out = input.out ?? slot.out;
    checkRows('out', out, combinePayload, route.tokens * hidden);
    if (out.byteOffset % 4 !== 0)
      throw invalidInput('out', 'an array that starts at a multiple of 4 bytes', out.byteOffset);
    slot.mask.set(this.#mask);
    slot.busy = true;
    slot.route = route;
    this.#combineSequence++;
    slot.phase.begin(route, { x: input.x, topkWeights: input.topkWeights, out });
    const exchange = this.track(slot.phase, () => {
      slot.busy = false;
      slot.route = undefined;
      return { x: out };
    });
    this.progress();
    return exchange;
  }

  /** Blocks until the rows are back and summed. */
  combineReceive(sent: Exchange<LowLatencyCombineResult>, options: RunOptions = {}): LowLatencyCombineResult {
    return this.finishSync('low-latency combine', sent, options);
  }

  /** Resolves when the rows are back and summed. */
  combineReceiveAsync(
    sent: Exchange<LowLatencyCombineResult>,
    options: WaitOptions = {},
  ): Promise<LowLatencyCombineResult> {
    return this.finishAsync('low-latency combine', sent, options);
  }

  /** Both phases of a combine. */
  async combine(input: LowLatencyCombineInput, options: WaitOptions = {}): Promise<LowLatencyCombineResult> {
    return this.combineReceiveAsync(this.combineSend(input), options);
  }

  #dispatched(slot: DispatchSlot, generation: number): LowLatencyResult {
    const { rows, route } = slot;
    for (let e = 0; e < rows.counts.length; e++) this.expertLoad[e] = this.expertLoad[e]! + rows.counts[e]!;
    return {
      rowsPerExpert: this.config.ranks * this.config.maxTokensPerRank,
      x: rows.x,
      scales: rows.scales,
      scaleCodes: rows.scaleCodes,
      counts: rows.counts,
      rangeCounts: route.received,
      rangeBegins: route.begins,
      srcRank: rows.srcRank,
      srcIdx: route.srcIdx,
      handle: new DispatchHandle(this, route, () => slot.generation === generation),
    };
  }
}
