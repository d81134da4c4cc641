import { CollectivesError } from '../errors.js';
import type { CallOptions, Plan, PlanRequest, ReduceOptions, WaitOptions } from './communicator.js';
import type { Dtype, DtypeArray } from './dtype.js';
import type { Waitable } from './waiting.js';

interface Exchange extends Waitable {
  result(): readonly Float64Array[];
}

/** The promise methods of a communicator: each plans, runs and closes one operation. */
export abstract class OneShot {
  abstract readonly rank: number;
  abstract readonly size: number;
  abstract planAsync(request: PlanRequest, options?: WaitOptions): Promise<Plan>;
  abstract exchange(values: ArrayLike<number>): Exchange;
  abstract waitFor(what: string, waitable: Waitable, options?: WaitOptions): Promise<void>;
  /** Tells the other ranks, which wait in the same call, that this one rejected its arguments. */
  abstract refuse(error: unknown): void;
  #last: Promise<unknown> = Promise.resolve();

  allReduce<A extends DtypeArray>(array: A, options: ReduceOptions = {}): Promise<A> {
    return this.#inOrder(async () => {
      const output = sameKind(array, array.length);
      const { count, dtype } = { count: array.length, dtype: this.#dtype(array, options) };
      await this.#run(
        { op: 'allReduce', dtype, count, input: array, output, ...algorithm(options), ...reduction(options) },
        options,
      );
      return output;
    });
  }

  reduceScatter<A extends DtypeArray>(
    array: A,
    options: ReduceOptions & { counts?: ArrayLike<number> } = {},
  ): Promise<A> {
    return this.#inOrder(async () => {
      const counts = options.counts ?? this.#equalParts(array.length);
      const output = sameKind(array, counts[this.rank] ?? 0);
      const dtype = this.#dtype(array, options);
      await this.#run(
        {
          op: 'reduceScatter',
          dtype,
          counts,
          input: array,
          output,
          ...algorithm(options),
          ...reduction(options),
        },
        options,
      );
      return output;
    });
  }

  allGather<A extends DtypeArray>(array: A, options: CallOptions = {}): Promise<A> {
    return this.#inOrder(async () => {
      const counts = await this.#lengths('allGather', array, options);
      const output = sameKind(array, sum(counts));
      const dtype = this.#dtype(array, options);
      await this.#run(
        { op: 'allGather', dtype, counts, input: array, output, ...algorithm(options) },
        options,
      );
      return output;
    });
  }

  allToAll<A extends DtypeArray>(
    array: A,
    options: CallOptions & { sendCounts?: ArrayLike<number> } = {},
  ): Promise<{ data: A; receiveCounts: Int32Array }> {
    return this.#inOrder(async () => {
      const sendCounts = options.sendCounts ?? this.#equalParts(array.length);
      const dtype = this.#dtype(array, options);
      const exchange = this.exchange(sendCounts);
      await this.waitFor('allToAll', exchange, options);
      const receiveCounts = Int32Array.from(exchange.result(), (counts) => counts[this.rank] ?? 0);
      const data = sameKind(array, sum(receiveCounts));
      await this.#run(
        {
          op: 'allToAll',
          dtype,
          sendCounts,
          receiveCounts,
          input: array,
          output: data,
          ...algorithm(options),
        },
        options,
      );
      return { data, receiveCounts };
    });
  }

  broadcast<A extends DtypeArray>(array: A, options: CallOptions & { root?: number } = {}): Promise<A> {
    return this.#inOrder(async () => {
      const root = options.root ?? 0;
      const dtype = this.#dtype(array, options);
      await this.#run(
        { op: 'broadcast', dtype, count: array.length, root, output: array, ...algorithm(options) },
        options,
      );
      return array;
    });
  }

  reduce<A extends DtypeArray>(
    array: A,
    options: ReduceOptions & { root?: number } = {},
  ): Promise<A | undefined> {
    return this.#inOrder(async () => {
      const root = options.root ?? 0;
      const output = sameKind(array, this.rank === root ? array.length : 0);
      const request = {
        op: 'reduce',
        dtype: this.#dtype(array, options),
        count: array.length,
        root,
        input: array,
        output,
      } as const;
      await this.#run({ ...request, ...algorithm(options), ...reduction(options) }, options);
      return this.rank === root ? output : undefined;
    });
  }

  gather<A extends DtypeArray>(
    array: A,
    options: CallOptions & { root?: number } = {},
  ): Promise<A | undefined> {
    return this.#inOrder(async () => {
      const root = options.root ?? 0;
      const dtype = this.#dtype(array, options);
      const counts = await this.#lengths('gather', array, options);
      const output = sameKind(array, this.rank === root ? sum(counts) : 0);
      await this.#run(
        { op: 'gather', dtype, counts, root, input: array, output, ...algorithm(options) },
        options,
      );
      return this.rank === root ? output : undefined;
    });
  }

  scatter<A extends DtypeArray>(
    array: A,
    options: CallOptions & { root?: number; counts?: ArrayLike<number> } = {},
  ): Promise<A> {
    return this.#inOrder(async () => {
      const root = options.root ?? 0;
      const dtype = this.#dtype(array, options);
      // Only the root knows the counts; a rank that passes none sends zeros, which are not looked at.
      const own = this.rank === root ? (options.counts ?? this.#equalParts(array.length)) : [];
      const exchange = this.exchange(own);
      await this.waitFor('scatter', exchange, options);
      const counts = exchange.result()[root] ?? [];
      const output = sameKind(array, counts[this.rank] ?? 0);
      await this.#run(
        { op: 'scatter', dtype, counts, root, input: array, output, ...algorithm(options) },
        options,
      );
      return output;
    });
  }

  barrier(options: CallOptions = {}): Promise<void> {
    return this.#inOrder(() => this.#run({ op: 'barrier', ...algorithm(options) }, options));
  }

  async send(array: DtypeArray, options: CallOptions & { to: number; tag?: number }): Promise<void> {
    const tag = options.tag ?? 0;
    const dtype = dtypeOf(array, options);
    await this.#run({ op: 'send', dtype, count: array.length, peer: options.to, tag, input: array }, options);
  }

  async receive<A extends DtypeArray>(
    array: A,
    options: CallOptions & { from: number; tag?: number },
  ): Promise<A> {
    const tag = options.tag ?? 0;
    const dtype = dtypeOf(array, options);
    const request = {
      op: 'receive',
      dtype,
      count: array.length,
      peer: options.from,
      tag,
      output: array,
    } as const;
    const length = await this.#run(request, options, (plan) => plan.receivedCounts[0] as number);
    return array.subarray(0, length) as A;
  }

  async #run(request: PlanRequest, options: WaitOptions): Promise<void>;
  async #run<T>(request: PlanRequest, options: WaitOptions, result: (plan: Plan) => T): Promise<T>;
  async #run<T>(
    request: PlanRequest,
    options: WaitOptions,
    result?: (plan: Plan) => T,
  ): Promise<T | undefined> {
    const plan = await this.planAsync(request, options);
    try {
      plan.start();
      await plan.wait(options);
      return result?.(plan);
    } finally {
      plan.close();
    }
  }

  /** Collective calls of one rank run one after the other, whether the caller awaits them or not. */
  #inOrder<T>(call: () => Promise<T>): Promise<T> {
    const result = this.#last.then(call, call);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #dtype(array: DtypeArray, options: CallOptions): Dtype {
    try {
      return dtypeOf(array, options);
    } catch (error) {
      this.refuse(error);
      throw error;
    }
  }

  #equalParts(length: number): number[] {
    if (length % this.size !== 0) {
      const error = new CollectivesError({
        code: 'collectives/bad-shape',
        message: `expected a multiple of ${this.size} elements for equal parts, got ${length}`,
        value: length,
        remedy: 'pass counts',
      });
      this.refuse(error);
      throw error;
    }
    return new Array<number>(this.size).fill(length / this.size);
  }

  async #lengths(what: string, array: DtypeArray, options: WaitOptions): Promise<number[]> {
    const exchange = this.exchange([array.length]);
    await this.waitFor(what, exchange, options);
    return exchange.result().map((numbers) => numbers[0] ?? 0);
  }
}

function sum(counts: ArrayLike<number>): number {
  let total = 0;
  for (let index = 0; index < counts.length; index++) total += counts[index] as number;
  return total;
}

function algorithm(options: CallOptions): Pick<CallOptions, 'algorithm'> {
  return options.algorithm === undefined ? {} : { algorithm: options.algorithm };
}

function reduction(options: ReduceOptions): Pick<ReduceOptions, 'reduction'> {
  return options.reduction === undefined ? {} : { reduction: options.reduction };
}

/** A new array of the class of `array`, in private memory. */
function sameKind<A extends DtypeArray>(array: A, length: number): A {
  const kind = array.constructor as new (length: number) => A;
  return new kind(length);
}

/** The dtype of an array, which must be said for 16-bit floats. */
function dtypeOf(array: DtypeArray, options: CallOptions): Dtype {
  if (options.dtype !== undefined) return options.dtype;
  if (array instanceof Float32Array) return 'f32';
  if (array instanceof Int32Array) return 'i32';
  if (array instanceof Uint8Array && array.BYTES_PER_ELEMENT === 1) return 'u8';
  throw new CollectivesError({
    code: 'collectives/bad-config',
    message: `expected dtype bf16 or f16 for a ${(array as object)?.constructor?.name}, got none`,
    remedy: "pass dtype: 'bf16' or dtype: 'f16'",
  });
}
