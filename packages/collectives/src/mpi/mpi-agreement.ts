import type { Pending } from '../communicator/transport.js';
import { CollectivesError, MismatchError } from '../errors.js';
import type { Session } from './session.js';

const MAX_PAYLOAD_BYTES = 1 << 20;
/** First message: length and the start of the payload; a second one carries what did not fit. */
const FIRST_BYTES = 4096;
const HEADER_BYTES = 8;

interface Transfer {
  readonly peer: number;
  readonly memory: Uint8Array;
  readonly request: Int32Array;
  readonly requestAddress: number;
  done: boolean;
}

/**
 * An all-gather of small payloads by direct messages, so that a rank that does not answer can be named. The k-th on one rank meets the k-th on the others, because
 * messages of one pair and tag keep their order.
 */
export class MpiAgreement implements Pending<readonly Uint8Array[]> {
  readonly #session: Session;
  readonly #communicator: number;
  readonly #tag: number;
  readonly #payloads: (Uint8Array | undefined)[];
  readonly #sends: Transfer[] = [];
  readonly #firsts: Transfer[] = [];
  readonly #seconds: Transfer[] = [];

  /** @param tag - of the first messages; the second ones use the next tag. */
  constructor(
    session: Session,
    communicator: number,
    rank: number,
    size: number,
    tag: number,
    payload: Uint8Array,
  ) {
    if (payload.length > MAX_PAYLOAD_BYTES) {
      throw new CollectivesError({
        code: 'collectives/bad-shape',
        message: `expected at most ${MAX_PAYLOAD_BYTES} bytes in an agreement, got ${payload.length}`,
        value: payload.length,
        remedy: 'use fewer ranks in one communicator',
      });
    }
    this.#session = session;
    this.#communicator = communicator;
    this.#tag = tag;
    this.#payloads = new Array<undefined>(size).fill(undefined);
    this.#payloads[rank] = payload.slice();
    const message = new Uint8Array(new ArrayBuffer(HEADER_BYTES + Math.max(payload.length, 1)));
    new DataView(message.buffer).setUint32(0, payload.length, true);
    message.set(payload, HEADER_BYTES);
    const first = message.subarray(0, Math.min(FIRST_BYTES, HEADER_BYTES + payload.length));
    const second = message.subarray(first.length);
    for (let peer = 0; peer < size; peer++) {
      if (peer === rank) continue;
      this.#firsts.push(this.#receive(peer, tag, FIRST_BYTES));
      this.#sends.push(this.#send(peer, tag, first));
      if (payload.length + HEADER_BYTES > FIRST_BYTES) this.#sends.push(this.#send(peer, tag + 1, second));
    }
  }

  test(): boolean {
    for (let index = 0; index < this.#firsts.length; index++) {
      const transfer = this.#firsts[index] as Transfer;
      if (!transfer.done && this.#isComplete(transfer)) this.#onFirst(transfer);
    }
    let pending = false;
    for (const transfer of this.#seconds) {
      if (!transfer.done && this.#isComplete(transfer)) this.#onSecond(transfer);
    }
    for (const transfer of this.#sends) if (!transfer.done && !this.#isComplete(transfer)) pending = true;
    return !pending && this.#payloads.every((payload) => payload !== undefined);
  }

  result(): readonly Uint8Array[] {
    return this.#payloads as Uint8Array[];
  }

  missing(): readonly number[] {
    return this.#payloads.flatMap((payload, rank) => (payload === undefined ? [rank] : []));
  }

  #onFirst(transfer: Transfer): void {
    const length = new DataView(transfer.memory.buffer).getUint32(0, true);
    if (length > MAX_PAYLOAD_BYTES) {
      throw new MismatchError('call', [transfer.peer], `rank ${transfer.peer} sent no agreement`);
    }
    const payload = new Uint8Array(length);
    payload.set(transfer.memory.subarray(HEADER_BYTES, Math.min(FIRST_BYTES, HEADER_BYTES + length)));
    if (HEADER_BYTES + length <= FIRST_BYTES) {
      this.#payloads[transfer.peer] = payload;
      return;
    }
    const rest = this.#receive(transfer.peer, this.#tag + 1, HEADER_BYTES + length - FIRST_BYTES);
    this.#seconds.push(rest);
    this.#starts.set(rest, payload);
  }

  readonly #starts = new Map<Transfer, Uint8Array>();

  #onSecond(transfer: Transfer): void {
    const payload = this.#starts.get(transfer) as Uint8Array;
    payload.set(transfer.memory, FIRST_BYTES - HEADER_BYTES);
    this.#payloads[transfer.peer] = payload;
  }

  #isComplete(transfer: Transfer): boolean {
    const { mpi } = this.#session.library;
    const code = mpi.MPI_Test(
      transfer.requestAddress,
      this.#session.flagAddress,
      this.#session.statusAddress,
    );
    this.#session.check(code, 'MPI_Test of an agreement');
    transfer.done = this.#session.flag[0] !== 0;
    return transfer.done;
  }

  #send(peer: number, tag: number, memory: Uint8Array): Transfer {
    const transfer = this.#transfer(peer, memory);
    const { mpi, abi, address } = this.#session.library;
    this.#session.check(
      mpi.MPI_Isend(
        address(memory),
        memory.length,
        abi.byte,
        peer,
        tag,
        this.#communicator,
        transfer.requestAddress,
      ),
      'MPI_Isend',
    );
    return transfer;
  }

  #receive(peer: number, tag: number, bytes: number): Transfer {
    const memory = new Uint8Array(new ArrayBuffer(bytes));
    const transfer = this.#transfer(peer, memory);
    const { mpi, abi, address } = this.#session.library;
    this.#session.check(
      mpi.MPI_Irecv(address(memory), bytes, abi.byte, peer, tag, this.#communicator, transfer.requestAddress),
      'MPI_Irecv',
    );
    return transfer;
  }

  #transfer(peer: number, memory: Uint8Array): Transfer {
    const request = new Int32Array(new ArrayBuffer(64));
    return { peer, memory, request, requestAddress: this.#session.library.address(request), done: false };
  }
}
