import type { Deployment, Pool } from '../cost/deployment.js';
import type { StepCost } from '../cost/step-cost.js';
import type { MemoryPlan } from '../memory/memory-plan.js';
import { type Binding, bindingOf } from './binding.js';
import type { DecodeOption } from './decode-option.js';
import { type MixedOption, mixedTtftSeconds } from './mixed-option.js';
import { type PrefillOption, prefillRate, ttftSeconds } from './prefill-option.js';
import { deploymentOf, type SearchSpace } from './search-space.js';

/** One pool of a candidate: what its steps cost and what holds it back. */
export interface PoolEstimate {
  readonly role: 'prefill' | 'decode' | 'mixed';
  readonly pool: Pool;
  readonly gpus: number;
  readonly memory: MemoryPlan;
  /** A step with a full batch. */
  readonly step: StepCost;
  /** Seconds of a full step; of `mixed` with the prompts it computes between tokens. */
  readonly stepSeconds: number;
  /** Prompt tokens (prefill, caches counted) or generated tokens a second of one server at its limit. */
  readonly tokensPerSecondPerServer: number;
  /** Share of the pool's capacity that the workload takes. */
  readonly utilisation: number;
  /** Requests a second at its limit under the SLO. */
  readonly requestsPerSecond: number;
  readonly binding: Binding;
}

/** A deployment that serves the workload, with what to expect of it. */
export interface PlanCandidate {
  readonly deployment: Deployment;
  readonly gpus: number;
  readonly pools: readonly PoolEstimate[];
  /** Requests a second of the workload's kind that it serves under the SLO. */
  readonly requestsPerSecond: number;
  /** Requests a second that it is planned for: what was asked, or with the goal `cluster` all that it serves. */
  readonly plannedRequestsPerSecond: number;
  /** Estimates at that rate, at the quantile of the SLO. */
  readonly ttftSeconds: number;
  readonly tpotSeconds: number;
  readonly outputTokensPerSecondPerGpu: number;
  readonly usdPerHour: number;
  /** Cost of the whole deployment for a million generated tokens at that rate. */
  readonly usdPerMillionOutputTokens: number;
  /** Decode GPUs for each prefill GPU; 0 for one pool. */
  readonly decodeToPrefill: number;
}

/** GPUs that an option needs for a rate: units and what they can do. */
export interface Sized<Option> {
  readonly option: Option;
  readonly units: number;
  readonly rate: number;
}

const mostUnits = 4096;

/** The fewest units that serve `rate` in time, or undefined where no number of them on `gpus` GPUs does. */
function fewestUnits(
  { gpus, requestsPerSecond }: { readonly gpus: number; readonly requestsPerSecond: number },
  rate: number,
  allowedGpus: number,
  inTime: (units: number) => boolean,
): number | undefined {
  const most = Math.min(mostUnits, Math.floor(allowedGpus / gpus));
  let units = Math.max(1, Math.ceil(rate / requestsPerSecond));
  // Waiting shrinks with the number of units, a step does not: a few more suffice or none do.
  for (let tries = 0; units <= most && tries < 24; tries++) {
    if (inTime(units)) return units;
    units = Math.max(units + 1, Math.floor(units * 1.05));
  }
  return undefined;
}

/** The fewest units of a prefill option for `rate`, or undefined where no number of them is in time. */
export function sizePrefill(
  { traffic, request: { slo } }: SearchSpace,
  option: PrefillOption,
  rate: number,
  gpus: number,
): Sized<PrefillOption> | undefined {
  const units = fewestUnits(
    option,
    rate,
    gpus,
    (count) => ttftSeconds(option, traffic, count, rate, slo.quantile) <= slo.ttftSeconds,
  );
  return units === undefined ? undefined : { option, units, rate: prefillRate(option, traffic, units, slo) };
}

/** The fewest units of a decode option for `rate`. */
export function sizeDecode(
  option: DecodeOption,
  rate: number,
  gpus: number,
): Sized<DecodeOption> | undefined {
  const units = Math.max(1, Math.ceil(rate / option.requestsPerSecond - 1e-9));
  if (units * option.gpus > gpus || units > mostUnits) return undefined;
  return { option, units, rate: units * option.requestsPerSecond };
}

/** The fewest units that prefill and decode for `rate`. */
export function sizeMixed(
  { traffic, request: { slo } }: SearchSpace,
  option: MixedOption,
  rate: number,
  gpus: number,
): Sized<MixedOption> | undefined {
  const units = fewestUnits(
    option,
    rate,
    gpus,
    (count) => mixedTtftSeconds(option, traffic, count, rate, slo.quantile) <= slo.ttftSeconds,
  );
  return units === undefined ? undefined : { option, units, rate: units * option.requestsPerSecond };
}

/** A candidate of two pools. */
export function splitCandidate(
  search: SearchSpace,
  rate: number,
  prefill: Sized<PrefillOption>,
  decode: Sized<DecodeOption>,
): PlanCandidate {
  const { traffic, request } = search;
  const first = { ...prefill.option.pool, units: prefill.units };
  const second = { ...decode.option.pool, units: decode.units };
  const servers = (option: { gpus: number }) => option.gpus / request.accelerator.gpusPerServer;
  const ttft = ttftSeconds(prefill.option, traffic, prefill.units, rate, request.slo.quantile);
  const tokens = first.maxTokensPerRank;
  const sequences = Math.max(1, tokens / traffic.newMean);
  const step = prefill.option.cost.prefillStep({
    tokens,
    contextTokens: sequences * traffic.cachedMean,
    sequences,
  });
  const pools: PoolEstimate[] = [
    {
      role: 'prefill',
      pool: first,
      gpus: prefill.units * prefill.option.gpus,
      memory: prefill.option.memory,
      step,
      stepSeconds: prefill.option.fullStepSeconds,
      tokensPerSecondPerServer:
        (prefill.option.requestsPerSecond * traffic.inputMean) / servers(prefill.option),
      utilisation: rate / (prefill.units * prefill.option.requestsPerSecond),
      requestsPerSecond: prefill.rate,
      binding: bindingOf(
        request.accelerator,
        step,
        prefill.rate < 0.94 * prefill.units * prefill.option.requestsPerSecond ? 'ttft' : 'throughput',
      ),
    },
    decodeEstimate(search, 'decode', second, decode, rate),
  ];
  return finish(search, deploymentOf(request, first, second), pools, {
    rate,
    ttft,
    tpot: tpotAt(search, decode, rate),
  });
}

/** A candidate of one pool. */
export function mixedCandidate(search: SearchSpace, rate: number, sized: Sized<MixedOption>): PlanCandidate {
  const { request, traffic } = search;
  const pool = { ...sized.option.pool, units: sized.units };
  const ttft = mixedTtftSeconds(sized.option, traffic, sized.units, rate, request.slo.quantile);
  return finish(
    search,
    deploymentOf(request, null, pool),
    [decodeEstimate(search, 'mixed', pool, sized, rate)],
    {
      rate,
      ttft,
      tpot: sized.option.tpotSeconds,
    },
  );
}

function decodeEstimate(
  search: SearchSpace,
  role: 'decode' | 'mixed',
  pool: Pool,
  { option, units, rate: most }: Sized<DecodeOption>,
  rate: number,
): PoolEstimate {
  const { traffic, request } = search;
  const sequences = pool.maxSequencesPerRank;
  const step = option.cost.decodeStep({ sequences, contextTokens: sequences * traffic.contextMean });
  const servers = option.gpus / request.accelerator.gpusPerServer;
  return {
    role,
    pool,
    gpus: units * option.gpus,
    memory: option.memory,
    step,
    stepSeconds: option.fullStepSeconds,
    tokensPerSecondPerServer: (option.requestsPerSecond * traffic.outputMean) / servers,
    utilisation: rate / most,
    requestsPerSecond: most,
    binding: bindingOf(
      request.accelerator,
      step,
      option.limit === 'slo' ? 'tpot' : option.limit,
      role === 'mixed' ? 'decode step' : 'step',
    ),
  };
}

/** Time between tokens at the batch that `rate` fills. */
function tpotAt({ traffic }: SearchSpace, { option, units }: Sized<DecodeOption>, rate: number): number {
  const { pool, cost } = option;
  let sequences = pool.maxSequencesPerRank;
  for (let i = 0; i < 20; i++) {
    const seconds = cost.decodeSeconds(sequences, sequences * traffic.contextMean) / cost.tokensPerStep;
    // Little's law: running requests are their rate times the time that they decode.
    const running = (rate * traffic.outputMean * seconds) / (units * pool.dp);
    sequences = Math.max(1, Math.min(pool.maxSequencesPerRank, (sequences + running) / 2));
  }
  return cost.decodeSeconds(sequences, sequences * traffic.contextMean) / cost.tokensPerStep;
}

function finish(
  { request, traffic }: SearchSpace,
  deployment: Deployment,
  pools: readonly PoolEstimate[],
  { rate, ttft, tpot }: { rate: number; ttft: number; tpot: number },
): PlanCandidate {
  const gpus = pools.reduce((sum, pool) => sum + pool.gpus, 0);
  const usdPerHour = gpus * request.accelerator.usdPerGpuHour;
  const outputPerSecond = rate * traffic.outputMean;
  return {
    deployment,
    gpus,
    pools,
    requestsPerSecond: Math.min(...pools.map((pool) => pool.requestsPerSecond)),
    plannedRequestsPerSecond: rate,
    ttftSeconds: ttft,
    tpotSeconds: tpot,
    outputTokensPerSecondPerGpu: outputPerSecond / gpus,
    usdPerHour,
    usdPerMillionOutputTokens: ((usdPerHour / 3600) * 1e6) / outputPerSecond,
    decodeToPrefill: pools.length === 2 ? pools[1]!.gpus / pools[0]!.gpus : 0,
  };
}
