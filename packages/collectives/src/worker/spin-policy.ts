/** Polls of a wait in a crowd; a few microseconds. */
const CROWDED_POLLS = 64;
/** From this balance of sleeps over short waits on, spinning counts as useless. */
const CROWDED = 8;
const LIMIT = 16;
/** In a crowd, the first waits of so many spin for long: to notice when it is over, and to look busy to a scheduler that may move one of the ranks to another core. */
const PERIOD = 1024;
const TRIALS = 64;

/**
 * How long a rank spins before it blocks. Normally long, since a message between two cores takes well below a microsecond and waking a thread takes
 * tens; two ranks that answer each other must spin longer than that, or never find each other awake. But where ranks share a
 * core, as on a loaded machine, whoever spins only keeps the other from answering.
 */
export class SpinPolicy {
  readonly #most: number;
  #balance: number = 0;
  #waits: number = 0;
  #slept: boolean = false;

  constructor(most: number) {
    this.#most = most;
  }

  /** A wait begins; returns how many polls to spin. */
  begin(): number {
    this.#balance = this.#slept ? Math.min(LIMIT, this.#balance + 1) : Math.max(0, this.#balance - 1);
    this.#slept = false;
    if (this.#balance < CROWDED) return this.#most;
    this.#waits = (this.#waits + 1) % PERIOD;
    return this.#waits < TRIALS ? this.#most : Math.min(this.#most, CROWDED_POLLS);
  }

  /** The wait was not short: the rank blocks. */
  sleep(): void {
    this.#slept = true;
  }
}
