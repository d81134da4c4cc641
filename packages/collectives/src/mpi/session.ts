import { writeSync } from 'node:fs';
import { CollectivesError } from '../errors.js';
import { STATUS_BYTES } from './abi.js';
import type { MpiLibrary } from './library.js';
import { Watchdog } from './watchdog.js';

const THREAD_FUNNELED = 1;
const ERROR_TEXT_BYTES = 1024;

/** Seconds from an error that breaks the job to its end, so that the program can report it. */
const DEFAULT_GRACE_SECONDS = 0.5;

/** How a session treats errors. */
export interface SessionOptions {
  readonly timeoutSeconds: number;
  readonly graceSeconds?: number;
}

/** MPI in this process, from MPI_Init_thread to MPI_Finalize; there is one in the life of a process. */
export class Session {
  readonly library: MpiLibrary;
  readonly watchdog: Watchdog;
  readonly rank: number;
  readonly size: number;
  /** Flag of MPI_Test. */
  readonly flag: Int32Array = new Int32Array(new ArrayBuffer(64));
  readonly flagAddress: number;
  /** MPI_Status of MPI_Test, as 32-bit words. */
  readonly status: Int32Array = new Int32Array(new ArrayBuffer(STATUS_BYTES));
  readonly statusAddress: number;
  /** What MPI may still write to after its channel was given up. */
  readonly abandoned: unknown[] = [];
  readonly #word: Int32Array = new Int32Array(new ArrayBuffer(64));
  readonly #wordAddress: number;
  readonly #options: SessionOptions;
  #ending = false;

  constructor(library: MpiLibrary, options: SessionOptions) {
    this.library = library;
    this.#options = options;
    this.flagAddress = library.address(this.flag);
    this.statusAddress = library.address(this.status);
    this.#wordAddress = library.address(this.#word);
    const { mpi, abi } = library;
    mpi.MPI_Initialized(this.#wordAddress);
    if (this.#word[0] !== 0) {
      throw new CollectivesError({
        code: 'collectives/unsupported',
        message: 'MPI is already initialized in this process',
        remedy: 'connect once, on one thread, and use split() or dup() for more communicators',
      });
    }
    this.check(mpi.MPI_Init_thread(0, 0, THREAD_FUNNELED, this.#wordAddress), 'MPI_Init_thread');
    this.check(mpi.MPI_Comm_set_errhandler(abi.world, abi.errorsReturn), 'MPI_Comm_set_errhandler');
    this.rank = this.#query(mpi.MPI_Comm_rank, abi.world);
    this.size = this.#query(mpi.MPI_Comm_size, abi.world);
    this.watchdog = new Watchdog(this.rank);
    process.on('exit', (code) => this.#onExit(code));
  }

  /** Rank in a communicator. */
  rankOf(communicator: number): number {
    return this.#query(this.library.mpi.MPI_Comm_rank, communicator);
  }

  sizeOf(communicator: number): number {
    return this.#query(this.library.mpi.MPI_Comm_size, communicator);
  }

  /** A duplicate of a communicator; blocks until every rank asks for it. */
  duplicate(communicator: number): number {
    return this.#create((out) => this.library.mpi.MPI_Comm_dup(communicator, out), 'MPI_Comm_dup');
  }

  /** Splits a communicator; blocks until every rank asks for it. A color of undefined joins no group. */
  split(communicator: number, color: number | undefined, key: number): number {
    const { abi, mpi } = this.library;
    return this.#create(
      (out) => mpi.MPI_Comm_split(communicator, color ?? abi.undefinedColor, key, out),
      'MPI_Comm_split',
    );
  }

  free(communicator: number): void {
    if (this.#ending) return;
    this.#storeHandle(communicator);
    this.library.mpi.MPI_Comm_free(this.#wordAddress);
  }

  /** Throws a typed error when an MPI function reported one. */
  check(code: number, call: string): void {
    if (code !== 0) throw this.error(code, call);
  }

  error(code: number, call: string): CollectivesError {
    const text = new Uint8Array(new ArrayBuffer(ERROR_TEXT_BYTES));
    this.#word[0] = 0;
    this.library.mpi.MPI_Error_string(code, this.library.address(text), this.#wordAddress);
    const message = new TextDecoder().decode(text.subarray(0, this.#word[0]));
    return new CollectivesError({
      code: 'collectives/native',
      message: `${call} failed: ${message}`,
      value: code,
      remedy: 'see the manual of the MPI implementation for this error',
    });
  }

  /** Error class of a code: the standard's number for what went wrong. */
  errorClass(code: number): number {
    this.library.mpi.MPI_Error_class(code, this.#wordAddress);
    return this.#word[0] as number;
  }

  /**
   * Ends the job after an error that other ranks cannot recover from: at process exit, or when the grace period is over. What the program does
   * until then (report, log, exit) is its own.
   */
  abandon(error: Error): void {
    if (this.#ending) return;
    this.#ending = true;
    const grace = this.#options.graceSeconds ?? DEFAULT_GRACE_SECONDS;
    // Said at once: what is written right before MPI_Abort may be lost on its way through the process manager.
    this.#say(error.message);
    process.on('exit', (code) => {
      if (code === 0) this.#abort(1);
    });
    setTimeout(() => this.#abort(1), grace * 1000);
    // A program that never returns to its event loop is ended as well.
    this.watchdog.arm(2, grace + 1);
  }

  #onExit(code: number): void {
    if (this.#ending) return;
    this.#ending = true;
    if (code !== 0) {
      // The process manager ends the other ranks; MPI_Abort would end this one before Node has printed the exception it exits for.
      this.#say(`the process exits with code ${code} while MPI is in use`);
      return;
    }
    this.watchdog.arm(1, this.#options.timeoutSeconds);
    this.library.mpi.MPI_Finalize();
    this.watchdog.disarm();
  }

  #say(reason: string): void {
    writeSync(2, `moestack: rank ${this.rank}: ${reason}; ending the MPI job\n`);
  }

  #abort(code: number): void {
    this.watchdog.arm(2, 1);
    this.library.mpi.MPI_Abort(this.library.abi.world, code);
  }

  #query(call: (communicator: number, out: number) => number, communicator: number): number {
    this.check(call(communicator, this.#wordAddress), 'a query of MPI');
    return this.#word[0] as number;
  }

  #create(call: (out: number) => number, name: string): number {
    this.watchdog.arm(0, this.#options.timeoutSeconds);
    try {
      this.check(call(this.#wordAddress), name);
    } finally {
      this.watchdog.disarm();
    }
    return this.#loadHandle();
  }

  #loadHandle(): number {
    const low = this.#word[0] as number;
    return this.library.abi.handleType === 'int' ? low : (low >>> 0) + (this.#word[1] as number) * 2 ** 32;
  }

  #storeHandle(handle: number): void {
    this.#word[0] = handle | 0;
    this.#word[1] = Math.floor(handle / 2 ** 32);
  }
}
