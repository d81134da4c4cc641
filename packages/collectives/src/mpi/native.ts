import { bytesPerElement } from '../communicator/dtype.js';
import type { NativeOperation, NativeRequest } from '../communicator/transport.js';
import { CollectivesError } from '../errors.js';
import type { Session } from './session.js';

const MAX_COUNT = 0x7fffffff;

/** A blocking call and its non-blocking twin. */
interface Calls {
  readonly name: string;
  blocking(): number;
  nonBlocking(request: number): number;
}

/** One of MPI's own collectives, bound to buffers. */
export class MpiNative implements NativeOperation {
  readonly #session: Session;
  readonly #calls: Calls;
  readonly #request = new Int32Array(new ArrayBuffer(64));
  readonly #requestAddress: number;
  /** Arrays whose addresses the calls hold. */
  readonly #kept: readonly unknown[];
  #active = false;

  constructor(session: Session, communicator: number, rank: number, request: NativeRequest) {
    this.#session = session;
    this.#requestAddress = session.library.address(this.#request);
    const kept: unknown[] = [request];
    this.#calls = bindCalls(session, communicator, rank, request, kept);
    this.#kept = kept;
  }

  start(): void {
    this.#session.check(this.#calls.nonBlocking(this.#requestAddress), `MPI_I${this.#calls.name}`);
    this.#active = true;
  }

  test(): boolean {
    if (!this.#active) return true;
    const { library, flag, flagAddress, statusAddress } = this.#session;
    const code = library.mpi.MPI_Test(this.#requestAddress, flagAddress, statusAddress);
    if (code !== 0) throw this.#session.error(code, `MPI_I${this.#calls.name}`);
    if (flag[0] === 0) return false;
    this.#active = false;
    return true;
  }

  run(timeoutSeconds: number): void {
    const { watchdog } = this.#session;
    watchdog.arm(0, timeoutSeconds);
    const code = this.#calls.blocking();
    watchdog.disarm();
    if (code !== 0) throw this.#session.error(code, `MPI_${this.#calls.name}`);
  }

  close(): void {
    if (this.#active) this.#session.abandoned.push(this, this.#kept);
  }
}

function bindCalls(
  session: Session,
  comm: number,
  rank: number,
  request: NativeRequest,
  kept: unknown[],
): Calls {
  const { mpi, abi, address } = session.library;
  const { op, dtype, root, sendCounts, receiveCounts, input, output } = request;
  const send = address(input);
  const receive = address(output);
  const sameBuffer =
    input.length > 0 && input.buffer === output.buffer && input.byteOffset === output.byteOffset;
  const unit = bytesPerElement(dtype);
  const ints = (values: readonly number[]): number => {
    const array = Int32Array.from(values, (value) => checkCount(value));
    kept.push(array);
    // The backing store of a small array is on the heap, where it may move, until `buffer` is asked for.
    kept.push(array.buffer);
    return address(array);
  };
  const bytes = (counts: readonly number[]): number[] => counts.map((count) => count * unit);
  const reduces = op === 'allReduce' || op === 'reduce' || op === 'reduceScatter';
  const type = !reduces
    ? abi.byte
    : dtype === 'f32'
      ? abi.float
      : dtype === 'i32'
        ? abi.int
        : noSuchSum(dtype);
  const combine = request.reduction === 'sum' ? abi.sum : request.reduction === 'max' ? abi.max : abi.min;
  switch (op) {
    case 'barrier':
      return {
        name: 'Barrier',
        blocking: () => mpi.MPI_Barrier(comm),
        nonBlocking: (r) => mpi.MPI_Ibarrier(comm, r),
      };
    case 'allReduce': {
      const count = checkCount(sendCounts[0] as number);
      const from = sameBuffer ? abi.inPlace : send;
      return {
        name: 'Allreduce',
        blocking: () => mpi.MPI_Allreduce(from, receive, count, type, combine, comm),
        nonBlocking: (r) => mpi.MPI_Iallreduce(from, receive, count, type, combine, comm, r),
      };
    }
    case 'reduce': {
      const count = checkCount(sendCounts[0] as number);
      const from = sameBuffer && rank === root ? abi.inPlace : send;
      return {
        name: 'Reduce',
        blocking: () => mpi.MPI_Reduce(from, receive, count, type, combine, root, comm),
        nonBlocking: (r) => mpi.MPI_Ireduce(from, receive, count, type, combine, root, comm, r),
      };
    }
    case 'reduceScatter': {
      const counts = ints(sendCounts);
      return {
        name: 'Reduce_scatter',
        blocking: () => mpi.MPI_Reduce_scatter(send, receive, counts, type, combine, comm),
        nonBlocking: (r) => mpi.MPI_Ireduce_scatter(send, receive, counts, type, combine, comm, r),
      };
    }
    case 'broadcast': {
      const count = checkCount((sendCounts[0] as number) * unit);
      const prepare = (): void => {
        if (rank === root && input.length > 0 && !sameBuffer) output.set(input);
      };
      return {
        name: 'Bcast',
        blocking: () => {
          prepare();
          return mpi.MPI_Bcast(receive, count, type, root, comm);
        },
        nonBlocking: (r) => {
          prepare();
          return mpi.MPI_Ibcast(receive, count, type, root, comm, r);
        },
      };
    }
    case 'allGather': {
      const own = checkCount((sendCounts[rank] as number) * unit);
      const counts = ints(bytes(sendCounts));
      const starts = ints(offsets(bytes(sendCounts)));
      return {
        name: 'Allgatherv',
        blocking: () => mpi.MPI_Allgatherv(send, own, type, receive, counts, starts, type, comm),
        nonBlocking: (r) => mpi.MPI_Iallgatherv(send, own, type, receive, counts, starts, type, comm, r),
      };
    }
    case 'allToAll': {
      const out = ints(bytes(sendCounts));
      const outStarts = ints(offsets(bytes(sendCounts)));
      const into = ints(bytes(receiveCounts));
      const intoStarts = ints(offsets(bytes(receiveCounts)));
      return {
        name: 'Alltoallv',
        blocking: () => mpi.MPI_Alltoallv(send, out, outStarts, type, receive, into, intoStarts, type, comm),
        nonBlocking: (r) =>
          mpi.MPI_Ialltoallv(send, out, outStarts, type, receive, into, intoStarts, type, comm, r),
      };
    }
    case 'gather': {
      const own = checkCount((sendCounts[rank] as number) * unit);
      const counts = ints(bytes(sendCounts));
      const starts = ints(offsets(bytes(sendCounts)));
      return {
        name: 'Gatherv',
        blocking: () => mpi.MPI_Gatherv(send, own, type, receive, counts, starts, type, root, comm),
        nonBlocking: (r) => mpi.MPI_Igatherv(send, own, type, receive, counts, starts, type, root, comm, r),
      };
    }
    default: {
      const own = checkCount((sendCounts[rank] as number) * unit);
      const counts = ints(bytes(sendCounts));
      const starts = ints(offsets(bytes(sendCounts)));
      return {
        name: 'Scatterv',
        blocking: () => mpi.MPI_Scatterv(send, counts, starts, type, receive, own, type, root, comm),
        nonBlocking: (r) => mpi.MPI_Iscatterv(send, counts, starts, type, receive, own, type, root, comm, r),
      };
    }
  }
}

function offsets(counts: readonly number[]): number[] {
  let end = 0;
  return counts.map((count) => {
    const start = end;
    end += count;
    return start;
  });
}

function checkCount(count: number): number {
  if (count <= MAX_COUNT) return count;
  throw new CollectivesError({
    code: 'collectives/unsupported',
    message: `expected counts and offsets of at most ${MAX_COUNT} for MPI's own collectives, got ${count}`,
    value: count,
    remedy: 'name an algorithm: those send long messages in pieces',
  });
}

function noSuchSum(dtype: string): never {
  throw new CollectivesError({
    code: 'collectives/unsupported',
    message: `expected f32 or i32 for a reduction by MPI itself, got ${dtype}`,
    value: dtype,
    remedy: 'name an algorithm: those reduce bf16 and f16 too',
  });
}
