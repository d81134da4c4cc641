import { fitLink, type LinkSample } from '../schedule/fit-links.js';
import { defaultLinkFit, type LinkFit, type LinkModel } from '../schedule/link-fit.js';
import type { Communicator, Plan, WaitOptions } from './communicator.js';
import { bindReduction } from './reductions.js';

/** Options of {@link measureLinks}. */
export interface MeasureOptions extends WaitOptions {
  /** Message sizes; default 64 B to 1 MiB. */
  readonly sizesBytes?: readonly number[];
  /** Round trips for each size, of which the median counts; default 21. */
  readonly repetitions?: number;
}

const SIZES_BYTES = [64, 1024, 16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024];
const REPETITIONS = 21;
const WARM_UPS = 3;
const REDUCED_BYTES = 1 << 20;

/**
 * Measures what messages and reductions cost here, for the choice of `auto` ({@link Communicator.setFit}) and the cost model: ping-pong between two ranks
 * of one node and two ranks of different nodes, and local f32 sums. Collective; every rank gets the same fit. A link class that the
 * topology does not have keeps its default.
 *
 * @example
 * ```ts
 * import { createLoopback, measureLinks } from '@moestack/collectives';
 *
 * const ranks = createLoopback(2);
 * const fits = await Promise.all(ranks.map((comm) => measureLinks(comm, { repetitions: 5 })));
 * ranks.forEach((comm) => comm.setFit(fits[0]!));
 * console.log(fits[0]!.intra.bytesPerSecond > 0); // true
 * ```
 */
export async function measureLinks(comm: Communicator, options: MeasureOptions = {}): Promise<LinkFit> {
  const wait: WaitOptions = {
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.timeoutSeconds === undefined ? {} : { timeoutSeconds: options.timeoutSeconds }),
  };
  const { members } = comm.topology;
  const crowded = members.find((ranks) => ranks.length > 1);
  const intra = crowded === undefined ? undefined : ([crowded[0], crowded[1]] as [number, number]);
  const inter = members.length > 1 ? ([members[0]?.[0], members[1]?.[0]] as [number, number]) : undefined;
  const intraModel = await shared(comm, intra, options, wait, defaultLinkFit.intra);
  const interModel = await shared(comm, inter, options, wait, defaultLinkFit.inter);
  const rate = Float32Array.of(comm.rank === 0 ? reductionRate(comm) : 0);
  await comm.broadcast(rate, wait);
  return {
    schemaVersion: 1,
    intra: intraModel,
    inter: interModel,
    reduceBytesPerSecond: rate[0] as number,
  };
}

/** Measures a pair of ranks while the others wait, and tells all. */
async function shared(
  comm: Communicator,
  pair: readonly [number, number] | undefined,
  options: MeasureOptions,
  wait: WaitOptions,
  otherwise: LinkModel,
): Promise<LinkModel> {
  if (pair === undefined) return otherwise;
  const model = new Float32Array(2);
  await comm.barrier(wait);
  if (comm.rank === pair[0] || comm.rank === pair[1]) {
    const samples: LinkSample[] = [];
    for (const bytes of options.sizesBytes ?? SIZES_BYTES) {
      const seconds = await pingPong(comm, pair, bytes, options.repetitions ?? REPETITIONS, wait);
      samples.push({ bytes, seconds });
    }
    const { alphaSeconds, bytesPerSecond } = fitLink(samples);
    model.set([alphaSeconds, bytesPerSecond]);
  }
  await comm.broadcast(model, { ...wait, root: pair[0] });
  return { alphaSeconds: model[0] as number, bytesPerSecond: model[1] as number };
}

/** Median of half a round trip. */
async function pingPong(
  comm: Communicator,
  pair: readonly [number, number],
  bytes: number,
  repetitions: number,
  wait: WaitOptions,
): Promise<number> {
  const first = comm.rank === pair[0];
  const stream = { dtype: 'u8', count: bytes, peer: first ? pair[1] : pair[0], tag: 255 } as const;
  const plans = [
    await comm.planAsync({ op: first ? 'send' : 'receive', ...stream }, wait),
    await comm.planAsync({ op: first ? 'receive' : 'send', ...stream }, wait),
  ];
  const times: number[] = [];
  for (let repetition = -WARM_UPS; repetition < repetitions; repetition++) {
    const start = comm.transport.now();
    for (const plan of plans) await once(comm, plan, wait);
    if (repetition >= 0) times.push((comm.transport.now() - start) / 2);
  }
  for (const plan of plans) plan.close();
  times.sort((a, b) => a - b);
  return Math.max(times[times.length >> 1] as number, Number.EPSILON);
}

/** A run as it is usual on this transport: blocking where a rank has its own thread. */
async function once(comm: Communicator, plan: Plan, wait: WaitOptions): Promise<void> {
  if (comm.transport.canBlock) {
    plan.run(wait);
    return;
  }
  plan.start();
  await plan.wait(wait);
}

function reductionRate(comm: Communicator): number {
  const left = comm.allocate('u8', REDUCED_BYTES);
  const right = comm.allocate('u8', REDUCED_BYTES);
  const reduction = bindReduction(comm.transport, 'f32', 'sum', left, left, right);
  const times = Array.from({ length: 9 }, () => {
    const start = comm.transport.now();
    reduction.run();
    return comm.transport.now() - start;
  }).sort((a, b) => a - b);
  comm.release(left);
  comm.release(right);
  return REDUCED_BYTES / Math.max(times[4] as number, 1e-9);
}
