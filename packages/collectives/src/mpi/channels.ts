import type { TrafficCounters } from '../communicator/counters.js';
import type { ReceiveChannel, SendChannel } from '../communicator/transport.js';
import { MismatchError } from '../errors.js';
import type { Session } from './session.js';

/** Where a channel's messages go. */
export interface Endpoint {
  readonly session: Session;
  readonly communicator: number;
  readonly peer: number;
  readonly tag: number;
  readonly counters: TrafficCounters;
  /** Longer messages travel in pieces of this size; the last piece is shorter, perhaps empty. */
  readonly pieceBytes: number;
}

/** An MPI_Request in memory that does not move. */
class Request {
  readonly address: number;
  readonly #memory: Int32Array = new Int32Array(new ArrayBuffer(64));

  constructor(session: Session) {
    this.address = session.library.address(this.#memory);
  }
}

function testRequest(session: Session, request: number): number {
  return session.library.mpi.MPI_Test(request, session.flagAddress, session.statusAddress);
}

/** Sends by a persistent request; other lengths than the whole region, and long messages, by MPI_Isend. */
export class MpiSend implements SendChannel {
  readonly peer: number;
  transferredBytes: number = 0;
  readonly #endpoint: Endpoint;
  readonly #source: Uint8Array;
  readonly #address: number;
  readonly #whole: Request | undefined;
  readonly #pieces: Request[] = [];
  #active: Request[] = [];
  readonly #wholeOnly: Request[];
  #next = 0;

  constructor(endpoint: Endpoint, source: Uint8Array) {
    const { session, peer, tag, communicator } = endpoint;
    this.#endpoint = endpoint;
    this.peer = peer;
    this.#source = source;
    this.#address = session.library.address(source);
    if (source.length < endpoint.pieceBytes) {
      this.#whole = new Request(session);
      const { mpi, abi } = session.library;
      session.check(
        mpi.MPI_Send_init(
          this.#address,
          source.length,
          abi.byte,
          peer,
          tag,
          communicator,
          this.#whole.address,
        ),
        'MPI_Send_init',
      );
    }
    this.#wholeOnly = this.#whole === undefined ? [] : [this.#whole];
  }

  start(bytes: number = this.#source.length): void {
    const { session } = this.#endpoint;
    this.transferredBytes = bytes;
    this.#next = 0;
    if (this.#whole !== undefined && bytes === this.#source.length) {
      this.#active = this.#wholeOnly;
      session.check(session.library.mpi.MPI_Start(this.#whole.address), 'MPI_Start');
      return;
    }
    this.#startPieces(bytes);
  }

  test(): boolean {
    const { session } = this.#endpoint;
    const active = this.#active;
    if (active.length === 0) return true;
    while (this.#next < active.length) {
      const code = testRequest(session, (active[this.#next] as Request).address);
      if (code !== 0) {
        this.#active = none;
        throw session.error(code, 'MPI_Test of a send');
      }
      if (session.flag[0] === 0) return false;
      this.#next++;
    }
    this.#active = none;
    this.#endpoint.counters.countSend(this.peer, this.transferredBytes);
    return true;
  }

  close(): void {
    const { session } = this.#endpoint;
    if (this.#active.length > 0) session.abandoned.push(this);
    else if (this.#whole !== undefined) session.library.mpi.MPI_Request_free(this.#whole.address);
  }

  #startPieces(bytes: number): void {
    const { session, peer, tag, communicator, pieceBytes } = this.#endpoint;
    const { mpi, abi } = session.library;
    const count = Math.floor(bytes / pieceBytes) + 1;
    while (this.#pieces.length < count) this.#pieces.push(new Request(session));
    this.#active = this.#pieces.length === count ? this.#pieces : this.#pieces.slice(0, count);
    for (let index = 0; index < count; index++) {
      const offset = index * pieceBytes;
      const length = Math.min(pieceBytes, bytes - offset);
      const request = (this.#pieces[index] as Request).address;
      const code = mpi.MPI_Isend(this.#address + offset, length, abi.byte, peer, tag, communicator, request);
      session.check(code, 'MPI_Isend');
    }
  }
}

const none: Request[] = [];

/** Receives by a persistent request; long regions piece by piece. */
export class MpiReceive implements ReceiveChannel {
  readonly peer: number;
  transferredBytes: number = 0;
  readonly #endpoint: Endpoint;
  readonly #target: Uint8Array;
  readonly #address: number;
  readonly #request: Request;
  readonly #persistent: boolean;
  #active = false;
  #received = 0;

  constructor(endpoint: Endpoint, target: Uint8Array) {
    const { session, peer, tag, communicator } = endpoint;
    this.#endpoint = endpoint;
    this.peer = peer;
    this.#target = target;
    this.#address = session.library.address(target);
    this.#request = new Request(session);
    this.#persistent = target.length < endpoint.pieceBytes;
    if (!this.#persistent) return;
    const { mpi, abi } = session.library;
    session.check(
      mpi.MPI_Recv_init(
        this.#address,
        target.length,
        abi.byte,
        peer,
        tag,
        communicator,
        this.#request.address,
      ),
      'MPI_Recv_init',
    );
  }

  start(): void {
    this.#active = true;
    this.#received = 0;
    if (this.#persistent) {
      const { session } = this.#endpoint;
      session.check(session.library.mpi.MPI_Start(this.#request.address), 'MPI_Start');
    } else {
      this.#startPiece();
    }
  }

  test(): boolean {
    if (!this.#active) return true;
    const { session, pieceBytes } = this.#endpoint;
    for (;;) {
      const code = testRequest(session, this.#request.address);
      if (code !== 0) {
        this.#active = false;
        throw this.#failed(code);
      }
      if (session.flag[0] === 0) return false;
      const piece = receivedBytes(session);
      this.#received += piece;
      if (this.#persistent || piece < pieceBytes) break;
      this.#startPiece();
    }
    this.#active = false;
    this.transferredBytes = this.#received;
    this.#endpoint.counters.countReceive(this.peer, this.#received);
    return true;
  }

  close(): void {
    const { session } = this.#endpoint;
    if (this.#active) session.abandoned.push(this);
    else if (this.#persistent) session.library.mpi.MPI_Request_free(this.#request.address);
  }

  #startPiece(): void {
    const { session, peer, tag, communicator, pieceBytes } = this.#endpoint;
    const { mpi, abi } = session.library;
    const length = Math.min(pieceBytes, this.#target.length - this.#received);
    const address = this.#address + this.#received;
    session.check(
      mpi.MPI_Irecv(address, length, abi.byte, peer, tag, communicator, this.#request.address),
      'MPI_Irecv',
    );
  }

  #failed(code: number): Error {
    const { session } = this.#endpoint;
    if (session.errorClass(code) !== session.library.abi.truncate)
      return session.error(code, 'MPI_Test of a receive');
    const room = this.#target.length;
    return new MismatchError(
      'length',
      [this.peer],
      `rank ${this.peer} sent more than the ${room} bytes of the receive`,
    );
  }
}

function receivedBytes(session: Session): number {
  const { abi } = session.library;
  const low = (session.status[abi.countLow] as number) >>> 0;
  return low + ((session.status[abi.countHigh] as number) >>> abi.countHighShift) * 2 ** 32;
}
