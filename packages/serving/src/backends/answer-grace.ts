import type { Leg } from '../upstream/leg.js';
import { whenAborted } from './pool-backend.js';

/**
 * Ends a prefill leg whose client leaves, but not at once: an answer may be on its way, and cutting it off then would
 * pin its KV blocks. Short prefills may end; a long one is cut off, and what has arrived by then is still read, so that
 * only an answer within the very flight of the cut is missed.
 */
export class AnswerGrace {
  readonly #unlink: () => void;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;

  constructor(leg: Leg, signal: AbortSignal, seconds: number) {
    this.#unlink = whenAborted(signal, () => {
      this.#timer = setTimeout(() => {
        // Timers run before the sockets are read; immediates after.
        this.#immediate = setImmediate(() => leg.abort(signal.reason));
      }, seconds * 1000);
    });
  }

  /** The leg has ended or answered. */
  end(): void {
    this.#unlink();
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
  }
}
