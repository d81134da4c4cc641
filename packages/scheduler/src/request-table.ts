/** Where a request stands. `active`: in the walk order of a stage; `handover`: prefilled, waits for the decode pool. */
export const Phase = { free: 0, waiting: 1, active: 2, handover: 3, transfer: 4 } as const;

/** Why a request leaves as soon as no step uses it any more. */
export const Ending = { none: 0, cancelled: 1, finished: 2 } as const;

/** Of requests whose prompt is not cached. */
export const NO_PREFIX: Float64Array = new Float64Array(0);

/** State of every request in columns, indexed by request id. */
export class RequestTable {
  readonly capacity: number;
  readonly promptTokens: Int32Array;
  readonly maxNewTokens: Int32Array;
  readonly generated: Int32Array;
  /** Tokens whose KV is computed. */
  readonly computed: Int32Array;
  readonly preemptions: Int32Array;
  /** Tokens found in the prefix cache at the first admission. */
  readonly cached: Int32Array;
  readonly tenant: Int32Array;
  /** Names of the prompt's prefixes by block; see {@link SchedulerRequest.prefix}. */
  readonly prefix: Float64Array[];
  readonly priority: Float64Array;
  readonly arrivalUs: Float64Array;
  readonly phase: Uint8Array;
  /** Index of the stage whose list holds the request; meaningless while it waits. */
  readonly stage: Uint8Array;
  /** 1 while a step in flight uses the request. */
  readonly inStep: Uint8Array;
  readonly ending: Uint8Array;
  readonly admitted: Uint8Array;
  readonly #free: Int32Array;
  #freeHead = 0;
  #freeCount: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.promptTokens = new Int32Array(capacity);
    this.maxNewTokens = new Int32Array(capacity);
    this.generated = new Int32Array(capacity);
    this.computed = new Int32Array(capacity);
    this.preemptions = new Int32Array(capacity);
    this.cached = new Int32Array(capacity);
    this.tenant = new Int32Array(capacity);
    this.prefix = new Array<Float64Array>(capacity).fill(NO_PREFIX);
    this.priority = new Float64Array(capacity);
    this.arrivalUs = new Float64Array(capacity);
    this.phase = new Uint8Array(capacity);
    this.stage = new Uint8Array(capacity);
    this.inStep = new Uint8Array(capacity);
    this.ending = new Uint8Array(capacity);
    this.admitted = new Uint8Array(capacity);
    this.#free = Int32Array.from({ length: capacity }, (_, slot) => slot);
    this.#freeCount = capacity;
  }

  /** Requests that are not free. */
  get used(): number {
    return this.capacity - this.#freeCount;
  }

  /** Tokens of the request that are known: prompt and generated. */
  known(slot: number): number {
    return this.promptTokens[slot]! + this.generated[slot]!;
  }

  /** Whether the request computes its newest generated token and nothing else. */
  decodes(slot: number): boolean {
    return this.generated[slot]! > 0 && this.known(slot) - this.computed[slot]! === 1;
  }

  /** Takes the slot that has been free for longest, so that a stale id meets a stranger as late as possible. */
  take(): number {
    const slot = this.#free[this.#freeHead]!;
    this.#freeHead = (this.#freeHead + 1) % this.capacity;
    this.#freeCount--;
    this.generated[slot] = 0;
    this.computed[slot] = 0;
    this.preemptions[slot] = 0;
    this.cached[slot] = 0;
    this.inStep[slot] = 0;
    this.ending[slot] = Ending.none;
    this.admitted[slot] = 0;
    return slot;
  }

  give(slot: number): void {
    this.phase[slot] = Phase.free;
    this.prefix[slot] = NO_PREFIX;
    this.#free[(this.#freeHead + this.#freeCount) % this.capacity] = slot;
    this.#freeCount++;
  }
}
