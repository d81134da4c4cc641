import { deserialize, serialize } from 'node:v8';
import type { Communicator, Plan } from '@moestack/collectives';
import type { EncodedError } from '@moestack/schemas/errors';
import type { FromWorker, PlacedLogprobs, ToWorker } from './protocol.js';

/** What the first process tells another one, in order; a step brings a copy of its buffer. */
export type ToProcess =
  | Extract<ToWorker, { type: 'tokens' | 'release' | 'load' | 'stage-experts' | 'switch-experts' }>
  | { type: 'buffer' }
  | { type: 'step'; buffer: number; bytes: Uint8Array }
  /** Asks for what there is to report. */
  | { type: 'report' }
  | { type: 'end' };

/** What a process answers to a step: the outcomes of its sequences by their place, or why there are none. */
export interface StepAnswer {
  readonly places: Int32Array;
  readonly tokens: Int32Array;
  readonly finished: Uint8Array;
  readonly logprobs: PlacedLogprobs[] | undefined;
  readonly error: EncodedError | undefined;
}

/** What a process answers to a step or to `report`: also what its rank has said since the last answer, of experts or of a failure. */
export interface FromProcess {
  readonly step: StepAnswer | undefined;
  readonly reports: readonly FromWorker[];
}

/** Bytes of one message; longer values take several. */
const MESSAGE_BYTES = 1 << 13;
/** The length of a value is ahead of it. */
const HEADER_BYTES = 4;
/** An idle process waits for its next message for as long as it takes. */
const FOREVER_SECONDS = 1e9;

/** Values to and from one other rank, over messages of a bounded length. Both sides are processes of the same program. */
export class ProcessLink {
  readonly #outgoing: Plan;
  readonly #incoming: Plan;
  readonly #timeoutSeconds: number;

  /** @param timeoutSeconds - how long {@link ProcessLink.send} and {@link ProcessLink.receive} may wait. */
  constructor(communicator: Communicator, peer: number, timeoutSeconds: number) {
    const common = { dtype: 'u8', count: MESSAGE_BYTES, peer } as const;
    this.#outgoing = communicator.plan({ op: 'send', ...common });
    this.#incoming = communicator.plan({ op: 'receive', ...common });
    this.#timeoutSeconds = timeoutSeconds;
  }

  /** Sends a value; blocks until it has left. */
  send(value: unknown): void {
    const bytes = serialize(value);
    const { input, sendCounts } = this.#outgoing;
    const target = input as Uint8Array;
    new DataView(target.buffer, target.byteOffset).setUint32(0, bytes.length, true);
    let at = HEADER_BYTES;
    for (let sent = 0; sent < bytes.length || at > 0; at = 0) {
      const count = Math.min(bytes.length - sent, MESSAGE_BYTES - at);
      target.set(bytes.subarray(sent, sent + count), at);
      sendCounts[0] = at + count;
      this.#outgoing.run({ timeoutSeconds: this.#timeoutSeconds });
      sent += count;
    }
  }

  /** Waits for a value, blocking. */
  receive<T>(): T {
    this.#incoming.start();
    this.#incoming.finish({ timeoutSeconds: this.#timeoutSeconds });
    return this.#rest<T>();
  }

  /** Resolves to the next value, whenever it comes; the event loop keeps turning. */
  async next<T>(): Promise<T> {
    this.#incoming.start();
    await this.#incoming.wait({ timeoutSeconds: FOREVER_SECONDS });
    return this.#rest<T>();
  }

  /** The value whose first message is here. */
  #rest<T>(): T {
    const { output, receivedCounts } = this.#incoming;
    const source = output as Uint8Array;
    const length = new DataView(source.buffer, source.byteOffset).getUint32(0, true);
    const bytes = new Uint8Array(length);
    let at = HEADER_BYTES;
    for (let read = 0; ; at = 0) {
      const count = receivedCounts[0]! - at;
      bytes.set(source.subarray(at, at + count), read);
      read += count;
      if (read >= length) return deserialize(bytes) as T;
      this.#incoming.start();
      this.#incoming.finish({ timeoutSeconds: this.#timeoutSeconds });
    }
  }

  close(): void {
    this.#outgoing.close();
    this.#incoming.close();
  }
}
