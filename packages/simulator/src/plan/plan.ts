import { SimulatorError } from '../errors.js';
import { cheapest, mostRate, type PoolOptions } from './capacity.js';
import { combineForCluster, combineForDemand } from './combine.js';
import type { Draft } from './draft.js';
import { type FrontierPoint, frontier } from './frontier.js';
import { infeasible } from './infeasible.js';
import { type PlanOptions, type PlanRequest, readRequest } from './plan-options.js';
import { SearchSpace } from './search-space.js';
import { trafficOf } from './traffic.js';
import { type SimulatedCandidate, verifyCandidates } from './verify.js';

/** What {@link plan} found. */
export interface PlanResult {
  readonly schemaVersion: 1;
  readonly request: PlanRequest;
  /** Requests a second that were asked for; with the goal `cluster`, the most that the analysis finds. */
  readonly requestsPerSecond: number;
  /**
   * The best first: for a demand, fewest GPUs, then most headroom; for a cluster, most requests. Those that a simulation found to
   * break the SLO come last.
   */
  readonly candidates: readonly SimulatedCandidate[];
  /** Tokens a second for a user against tokens a second for a GPU: the best pools at each speed, whole units aside. */
  readonly frontier: readonly FrontierPoint[];
  readonly searched: {
    readonly layouts: number;
    readonly prefillOptions: number;
    readonly decodeOptions: number;
    readonly combinations: number;
    /** Options that do not fit the memory, or cannot hold the prompts. */
    readonly tooLarge: number;
  };
}

/** Batch limits of decode as shares of the SLO: largest within it, and smaller ones that trade throughput for speed. */
const slower = [0.8, 0.6];

/**
 * Finds deployments of a model that serve a workload under an SLO: layouts of prefill and decode units, how many of each, redundant
 * experts and batch limits. All layouts are priced analytically; the best are then simulated with the scheduler that serves.
 *
 * @throws SimulatorError `simulator/bad-config` for a wrong request; `simulator/infeasible` when nothing meets it, with the nearest
 * change that would in `value` and remedy; `simulator/aborted`.
 *
 * @example
 * ```ts
 * import { accelerators, deepSeekV3, plan } from '@moestack/simulator';
 *
 * const { candidates } = await plan({
 *   accelerator: accelerators.h800, model: deepSeekV3, gpus: 352, goal: 'cluster',
 *   workload: {
 *     requestsPerSecond: 1, cachedFraction: 0.5, arrivals: { kind: 'poisson' },
 *     inputTokens: { kind: 'fixed', tokens: 4096 }, outputTokens: { kind: 'fixed', tokens: 1024 },
 *   },
 *   slo: { ttftSeconds: 5, tpotSeconds: 0.05 }, simulate: 0,
 * });
 * console.log(candidates[0]?.pools.map(({ role, pool }) => `${role}: ${pool.units} x EP${pool.ep}`));
 * ```
 */
export async function plan(options: PlanOptions): Promise<PlanResult> {
  const request = readRequest(options);
  const { signal, onProgress, space = {}, keep = 10 } = options;
  const traffic = trafficOf(request.workload, request.slo.quantile);
  const pause = pauses(signal);
  await pause();
  const search = await SearchSpace.open(request, traffic, space, (done, total) => {
    onProgress?.({ stage: 'layouts', done, total });
    return pause();
  });
  const decode = search.decode(request.slo.tpotSeconds);
  const pools: PoolOptions = {
    prefill: search.prefill,
    decode,
    mixed: space.mixed === false ? [] : search.mixed(request.slo.tpotSeconds),
  };
  const rate = request.goal === 'demand' ? demandOf(search, pools) : mostRate(search, pools);
  if (rate === 0 || cheapest(search, rate, pools) > request.gpus) throw infeasible(search, pools, rate);
  const all: PoolOptions = {
    ...pools,
    decode: [...decode, ...slower.flatMap((share) => search.decode(share * request.slo.tpotSeconds))],
  };
  const combine = request.goal === 'demand' ? combineForDemand : combineForCluster;
  const drafts = await combine(search, rate, all, (done, total) => {
    onProgress?.({ stage: 'combinations', done, total });
    return pause();
  });
  return {
    schemaVersion: 1,
    request,
    requestsPerSecond: rate,
    candidates: await verifyCandidates(search, distinct(drafts).slice(0, keep), options, pause),
    frontier: frontier(search),
    searched: {
      layouts: search.layoutCount,
      prefillOptions: search.prefill.length,
      decodeOptions: all.decode.length + all.mixed.length,
      combinations: drafts.length,
      tooLarge: search.rejected.memory + search.rejected.prompts,
    },
  };
}

/** A closed loop asks as often as it is answered: its rate follows from the longest times that the SLO allows. */
function demandOf(search: SearchSpace, pools: PoolOptions): number {
  const { traffic, request } = search;
  if (traffic.concurrency === null) return traffic.requestsPerSecond;
  const { ttftSeconds, tpotSeconds } = request.slo;
  const asked = traffic.concurrency / (ttftSeconds / 2 + traffic.outputMean * tpotSeconds);
  return Math.min(asked, mostRate(search, pools));
}

/** One candidate of each layout: variations of its limits would crowd out alternatives. */
function distinct(drafts: readonly Draft[]): Draft[] {
  const seen = new Set<string>();
  return drafts.filter(({ candidate }) => {
    const { prefill, decode } = candidate.deployment;
    const key = [prefill, decode].map((pool) => (pool === null ? '-' : `${pool.tp}/${pool.ep}`)).join('|');
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** Gives the event loop a turn now and then, and ends the work when asked to. */
function pauses(signal: AbortSignal | undefined): () => Promise<void> {
  let calls = 0;
  return async () => {
    if (++calls % 16 === 0) await new Promise<void>((resolve) => setTimeout(resolve, 0));
    if (signal?.aborted === true) {
      throw new SimulatorError({
        code: 'simulator/aborted',
        message: 'the search was aborted',
        value: undefined,
        remedy: 'plan again',
        cause: signal.reason,
      });
    }
  };
}
