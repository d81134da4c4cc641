import type { Communicator, Plan, WaitOptions } from '@moestack/collectives';
import type { Kernels } from '@moestack/kernels';
import { ModelError } from './errors.js';
import { RowViews } from './row-views.js';
import { firstToken } from './tensor-share.js';
import type { Allocator } from './workspace.js';

/** Sizes of a {@link TensorExchange}. */
export interface TensorSizes {
  /** Ranks that share the heads. */
  readonly ranks: number;
  /** Most rows that one rank has outside attention. */
  readonly rows: number;
  /** Values of a row that enter attention: of the compressed query, or the hidden state, and of the latent. */
  readonly queryDims: number;
  readonly latentDims: number;
  readonly hidden: number;
  /** Rows of logits that are made at once. */
  readonly logitRows: number;
}

/** Values that one rank sends to each other one to gather rows. */
function gatherLength(sizes: TensorSizes): number {
  const shared = Math.min(sizes.rows, sizes.logitRows) * sizes.hidden;
  return Math.max(sizes.rows * (sizes.queryDims + sizes.latentDims), shared);
}

/** Bytes of shared memory that an exchange takes: what it sends and receives. */
export function tensorExchangeBytes(sizes: TensorSizes): number {
  return 8 * (sizes.ranks - 1) * (gatherLength(sizes) + sizes.rows * sizes.hidden);
}

/** Adds up what an exchange takes from the arena. */
export function countTensorExchange(allocator: Allocator, sizes: TensorSizes): void {
  allocator.f32(sizes.rows * sizes.hidden);
}

/**
 * The communication of tensor parallelism: outside attention every rank has its rows of a step; before it all of them gather the compressed rows, after it the
 * partial sums over heads are reduced and scattered, ranks ascending. Both are the direct algorithms of all-gather and reduce-scatter on an exchange whose counts
 * change from step to step, so that no rank sends padding and no step needs a new agreement.
 */
export class TensorExchange {
  private readonly kernels: Kernels;
  private readonly sizes: TensorSizes;
  private readonly rank: number;
  private readonly gather: Plan;
  private readonly reduce: Plan;
  private readonly gatherParts: Parts;
  private readonly reduceParts: Parts;
  /** One rank's partial sums, in the arena. */
  private readonly incoming: Float32Array;
  private readonly memory: Float32Array;
  private readonly rowViews: WeakMap<Float32Array, RowViews> = new WeakMap();
  private active: Plan | undefined;

  private constructor(kernels: Kernels, sizes: TensorSizes, rank: number, gather: Plan, reduce: Plan) {
    this.kernels = kernels;
    this.sizes = sizes;
    this.rank = rank;
    this.gather = gather;
    this.reduce = reduce;
    this.gatherParts = new Parts(gather, sizes.ranks, rank, gatherLength(sizes));
    this.reduceParts = new Parts(reduce, sizes.ranks, rank, sizes.rows * sizes.hidden);
    this.incoming = kernels.arena.f32(sizes.rows * sizes.hidden);
    this.memory = new Float32Array(kernels.arena.memory.buffer);
  }

  /** Plans the exchange on the ranks that share the heads. Collective. */
  static async open(
    kernels: Kernels,
    communicator: Communicator,
    sizes: TensorSizes,
    wait: WaitOptions,
  ): Promise<TensorExchange> {
    const { rank, size } = communicator;
    const plan = (length: number): Promise<Plan> => {
      const counts = Array.from({ length: size }, (_, peer) => (peer === rank ? 0 : length));
      return communicator.planAsync(
        { op: 'allToAll', dtype: 'f32', sendCounts: counts, receiveCounts: counts, variable: true },
        wait,
      );
    };
    const gather = await plan(gatherLength(sizes));
    const reduce = await plan(sizes.rows * sizes.hidden);
    return new TensorExchange(kernels, sizes, rank, gather, reduce);
  }

  /** Sends this rank's rows of `query` and `latent`, which lie where their tokens do, to the others. */
  sendRows(query: Float32Array, latent: Float32Array, tokens: number): void {
    const { rank, gather, gatherParts } = this;
    const { ranks, queryDims, latentDims } = this.sizes;
    const first = firstToken(tokens, rank, ranks);
    const rows = firstToken(tokens, rank + 1, ranks) - first;
    for (let peer = 0; peer < ranks; peer++) {
      if (peer === rank) continue;
      gatherParts.write(peer, 0, this.memory, query.byteOffset / 4 + first * queryDims, rows * queryDims);
      const from = latent.byteOffset / 4 + first * latentDims;
      gatherParts.write(peer, rows * queryDims, this.memory, from, rows * latentDims);
      gather.sendCounts[peer] = rows * (queryDims + latentDims);
    }
    this.start(gather);
  }

  /** Waits for the rows of the others and puts them where their tokens are. */
  receiveRows(query: Float32Array, latent: Float32Array, tokens: number): void {
    const { rank, gather, gatherParts } = this;
    const { ranks, queryDims, latentDims } = this.sizes;
    this.finish(gather);
    for (let peer = 0; peer < ranks; peer++) {
      if (peer === rank) continue;
      const first = firstToken(tokens, peer, ranks);
      const rows = firstToken(tokens, peer + 1, ranks) - first;
      expectCount(gather, peer, rows * (queryDims + latentDims));
      gatherParts.read(peer, 0, this.memory, query.byteOffset / 4 + first * queryDims, rows * queryDims);
      const to = latent.byteOffset / 4 + first * latentDims;
      gatherParts.read(peer, rows * queryDims, this.memory, to, rows * latentDims);
    }
  }

  /** Sends each rank this rank's part of the sums that belong to it; `partial` `[tokens, hidden]`. */
  sendPartials(partial: Float32Array, tokens: number): void {
    const { rank, reduce, reduceParts } = this;
    const { ranks, hidden } = this.sizes;
    for (let peer = 0; peer < ranks; peer++) {
      if (peer === rank) continue;
      const first = firstToken(tokens, peer, ranks);
      const length = (firstToken(tokens, peer + 1, ranks) - first) * hidden;
      reduceParts.write(peer, 0, this.memory, partial.byteOffset / 4 + first * hidden, length);
      reduce.sendCounts[peer] = length;
    }
    this.start(reduce);
  }

  /** Waits for the parts of the others and writes the sums of this rank's rows to `out`. */
  receivePartials(partial: Float32Array, tokens: number, out: Float32Array): void {
    const { rank, reduce, reduceParts, incoming, kernels } = this;
    const { ranks, hidden } = this.sizes;
    this.finish(reduce);
    const first = firstToken(tokens, rank, ranks);
    const length = (firstToken(tokens, rank + 1, ranks) - first) * hidden;
    for (let peer = 0; peer < ranks; peer++) {
      let part = incoming;
      if (peer === rank) part = this.rowsOf(partial).from(first);
      else {
        expectCount(reduce, peer, length);
        reduceParts.read(peer, 0, this.memory, incoming.byteOffset / 4, length);
      }
      if (peer > 0) kernels.add(out, part, out, length);
      else this.memory.copyWithin(out.byteOffset / 4, part.byteOffset / 4, part.byteOffset / 4 + length);
    }
  }

  /** Sends the others those of `count` rows whose owner this rank is; row i is row `at[i]` of `rows`. */
  sendChosen(rows: Float32Array, at: Int32Array, owners: Int32Array, count: number): void {
    const { rank, gather, gatherParts } = this;
    const { ranks, hidden } = this.sizes;
    for (let peer = 0; peer < ranks; peer++) {
      if (peer === rank) continue;
      let sent = 0;
      for (let i = 0; i < count; i++) {
        if (owners[i] !== rank) continue;
        gatherParts.write(peer, sent, this.memory, rows.byteOffset / 4 + at[i]! * hidden, hidden);
        sent += hidden;
      }
      gather.sendCounts[peer] = sent;
    }
    this.start(gather);
  }

  /** Waits for those of `count` rows whose owner another rank is, and writes them to their places in `out`. */
  receiveChosen(out: Float32Array, owners: Int32Array, count: number): void {
    const { rank, gather, gatherParts } = this;
    const { ranks, hidden } = this.sizes;
    this.finish(gather);
    for (let peer = 0; peer < ranks; peer++) {
      if (peer === rank) continue;
      let read = 0;
      for (let i = 0; i < count; i++) {
        if (owners[i] !== peer) continue;
        gatherParts.read(peer, read, this.memory, out.byteOffset / 4 + i * hidden, hidden);
        read += hidden;
      }
      expectCount(gather, peer, read);
    }
  }

  /** Resolves when the next receive call will not block. */
  async ready(options?: WaitOptions): Promise<void> {
    await this.active?.wait(options);
  }

  /** Frees what belongs to the communicator, which stays open. */
  close(): void {
    this.gather.close();
    this.reduce.close();
  }

  private start(plan: Plan): void {
    this.active = plan;
    plan.start();
  }

  private finish(plan: Plan): void {
    plan.finish();
    this.active = undefined;
  }

  private rowsOf(matrix: Float32Array): RowViews {
    let views = this.rowViews.get(matrix);
    if (views === undefined) {
      views = new RowViews(matrix, this.sizes.hidden);
      this.rowViews.set(matrix, views);
    }
    return views;
  }
}

/** The parts of a plan's buffers by peer: this rank's own is empty. */
class Parts {
  private readonly input: Float32Array;
  private readonly output: Float32Array;
  private readonly offsets: Int32Array;

  constructor(plan: Plan, ranks: number, rank: number, length: number) {
    this.input = plan.input as Float32Array;
    this.output = plan.output as Float32Array;
    this.offsets = Int32Array.from({ length: ranks }, (_, peer) => (peer > rank ? peer - 1 : peer) * length);
  }

  write(peer: number, at: number, source: Float32Array, from: number, length: number): void {
    copy(this.input, this.offsets[peer]! + at, source, from, length);
  }

  read(peer: number, at: number, target: Float32Array, to: number, length: number): void {
    copy(target, to, this.output, this.offsets[peer]! + at, length);
  }
}

function copy(target: Float32Array, to: number, source: Float32Array, from: number, length: number): void {
  if (length > 0) target.set(source.subarray(from, from + length), to);
}

function expectCount(plan: Plan, peer: number, expected: number): void {
  const received = plan.receivedCounts[peer]!;
  if (received === expected) return;
  throw new ModelError({
    code: 'model/out-of-step',
    message: `expected ${expected} values of rank ${peer} of the tensor-parallel group, got ${received}`,
    value: received,
    remedy: 'give all ranks that share the heads the same batch',
  });
}
