import { simulate } from '../sim/simulate.js';
import type { SimulationResult } from '../sim/simulate-options.js';
import type { PlanCandidate } from './candidate.js';
import type { Draft } from './draft.js';
import type { PlanOptions } from './plan-options.js';
import type { SearchSpace } from './search-space.js';

/** What an event simulation of a candidate saw, at the rate that it is planned for. */
export interface SimulatedFigures {
  readonly requests: number;
  readonly durationSeconds: number;
  readonly ttftSeconds: SimulationResult['ttftSeconds'];
  readonly tpotSeconds: SimulationResult['tpotSeconds'];
  /** Share of the requests that kept both times. */
  readonly goodputShare: number;
  readonly keepsSlo: boolean;
  readonly utilisation: { readonly prefill: number; readonly decode: number };
  /** Times that the plan was corrected, by a unit or a lower rate, because a simulation broke the SLO. */
  readonly corrections: number;
}

/** A candidate with its simulation, if it had one. */
export interface SimulatedCandidate extends PlanCandidate {
  readonly simulated: SimulatedFigures | null;
}

/** Corrections of one candidate. */
const mostCorrections = 3;
/** What is left of the rate of a full cluster after a correction. */
const lowerRate = 0.92;
const defaultRequests = { least: 2000, most: 40_000 };
/** Long simulations for each confirmed candidate that is asked for: bounds the search where estimates break one after the other. */
const longRuns = 2.5;

/**
 * Simulates candidates, the best first, until enough of them keep the SLO. Where it breaks, a demand gets another unit of the pool at
 * fault and a cluster is promised less; those that cannot be mended go behind the others. Ends early when it has simulated so many
 * requests that more would take too long.
 */
export async function verifyCandidates(
  search: SearchSpace,
  drafts: readonly Draft[],
  options: PlanOptions,
  pause: () => Promise<void>,
): Promise<SimulatedCandidate[]> {
  const wanted = Math.min(drafts.length, options.simulate ?? 3);
  const most = wanted === 0 ? 0 : Math.min(drafts.length, 2 * wanted + 1);
  const kept: SimulatedCandidate[] = [];
  const broken: SimulatedCandidate[] = [];
  const longest = Math.max(defaultRequests.most, options.simulatedRequests ?? 0);
  const budget = { requests: wanted * longRuns * longest };
  let tried = 0;
  while (kept.length < wanted && tried < most && budget.requests > 0) {
    options.onProgress?.({ stage: 'simulation', done: kept.length, total: wanted });
    await pause();
    const seen = await verify(search, drafts[tried++]!, options, budget);
    (seen.simulated?.keepsSlo === true ? kept : broken).push(seen);
  }
  if (wanted > 0) options.onProgress?.({ stage: 'simulation', done: wanted, total: wanted });
  const rest = drafts.slice(tried).map(({ candidate }) => ({ ...candidate, simulated: null }));
  kept.sort((a, b) =>
    search.request.goal === 'demand'
      ? a.gpus - b.gpus
      : b.plannedRequestsPerSecond - a.plannedRequestsPerSecond,
  );
  return [...kept, ...rest, ...broken];
}

/** Simulates one candidate and corrects it while the budget, of which it takes, lasts. */
async function verify(
  search: SearchSpace,
  draft: Draft,
  options: PlanOptions,
  budget: { requests: number },
): Promise<SimulatedCandidate> {
  const { request, traffic } = search;
  // Users who send when they are answered cannot be promised a lower rate.
  const most = request.goal === 'cluster' && traffic.concurrency !== null ? 0 : mostCorrections;
  let current = draft;
  for (let corrections = 0; ; corrections++) {
    const { candidate } = current;
    const result = await run(search, candidate, options);
    budget.requests -= result.arrived;
    const simulated = figures(result, corrections);
    if (simulated.keepsSlo || corrections === most || budget.requests <= 0) {
      // A cluster that broke at the estimated rate is not promised it.
      const requestsPerSecond =
        request.goal === 'cluster' && corrections > 0
          ? candidate.plannedRequestsPerSecond
          : candidate.requestsPerSecond;
      return { ...candidate, requestsPerSecond, simulated };
    }
    const next = corrected(current, result, request.goal);
    if (next.candidate.gpus > request.gpus) return { ...candidate, simulated };
    current = next;
  }

  function corrected(from: Draft, result: SimulationResult, goal: 'demand' | 'cluster'): Draft {
    const rate = from.candidate.plannedRequestsPerSecond;
    if (goal === 'cluster') return from.resize({ prefill: 0, decode: 0 }, lowerRate * rate);
    const late = result.ttftSeconds.p90 > request.slo.ttftSeconds;
    const slow = result.tpotSeconds.p90 > request.slo.tpotSeconds || !late;
    return from.resize({ prefill: late ? 1 : 0, decode: slow ? 1 : 0 }, rate);
  }
}

function run(search: SearchSpace, candidate: PlanCandidate, options: PlanOptions): Promise<SimulationResult> {
  const { request, traffic } = search;
  const { accelerator, model, workload, slo } = request;
  const rate = candidate.plannedRequestsPerSecond;
  // Long enough to fill the batches and to stay full as long again.
  const lifetime = candidate.ttftSeconds + traffic.outputMean * candidate.tpotSeconds;
  const enough = Math.ceil(2.5 * rate * lifetime);
  const requestCount =
    options.simulatedRequests ?? Math.min(defaultRequests.most, Math.max(defaultRequests.least, enough));
  return simulate({
    accelerator,
    model,
    deployment: candidate.deployment,
    workload: { ...workload, requestsPerSecond: rate },
    slo,
    requestCount,
    seed: options.seed ?? 1,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

function figures(result: SimulationResult, corrections: number): SimulatedFigures {
  return {
    requests: result.arrived,
    durationSeconds: result.durationSeconds,
    ttftSeconds: result.ttftSeconds,
    tpotSeconds: result.tpotSeconds,
    goodputShare: result.goodput?.share ?? 0,
    keepsSlo: result.meetsSlo === true,
    utilisation: { prefill: result.prefill.utilisation, decode: result.decode.utilisation },
    corrections,
  };
}
