import { SimulatorError } from '../errors.js';
import { memoryPlan } from '../memory/memory-plan.js';
import { cheapest, mostRate, type PoolOptions } from './capacity.js';
import { layouts } from './layouts.js';
import type { PlanRequest } from './plan-options.js';
import { ttftSeconds } from './prefill-option.js';
import type { SearchSpace } from './search-space.js';

/** Why a request cannot be met, and the nearest one that can. */
export interface Infeasibility {
  readonly reason: 'memory' | 'context' | 'tpot' | 'ttft' | 'rate';
  /** Fields of the request that would have to be so, each alone sufficient. */
  readonly nearest: {
    readonly gpus?: number;
    readonly memoryBytes?: number;
    readonly contextTokens?: number;
    readonly tpotSeconds?: number;
    readonly ttftSeconds?: number;
    readonly requestsPerSecond?: number;
  };
}

const mostGpus = 65_536;

/** The error of a request that nothing meets. */
export function infeasible(search: SearchSpace, pools: PoolOptions, rate: number): SimulatorError {
  const { request, traffic } = search;
  const { gpus, model, accelerator, slo } = request;
  if (search.decodeLayouts === 0) {
    const needed = gpusToHold(request);
    const memoryBytes = accelerator.memoryBytes + search.smallestShortage;
    const what = `${gpus} ${accelerator.name}${gpus === 1 ? '' : 's'}`;
    if (search.layoutCount === 0)
      return error(
        `expected at least one server of ${accelerator.gpusPerServer} GPUs, got ${gpus}`,
        { reason: 'memory', nearest: { gpus: needed } },
        `use ${needed} GPUs`,
      );
    return error(
      `${model.name} does not fit ${what}: ${gib(search.smallestShortage)} are missing on every GPU in the best layout`,
      { reason: 'memory', nearest: { gpus: needed, memoryBytes } },
      Number.isFinite(needed)
        ? `use at least ${needed} GPUs, GPUs of ${gib(memoryBytes)}, or weights in a smaller format`
        : `use GPUs of at least ${gib(memoryBytes)}, or weights in a smaller format`,
    );
  }
  if (pools.decode.length === 0 && pools.mixed.length === 0) {
    const fastest = search.fastestTpotSeconds();
    if (fastest > slo.tpotSeconds)
      return error(
        `no layout of ${gpus} GPUs decodes a token in ${ms(slo.tpotSeconds)}: the fastest takes ${ms(fastest)} for a single user`,
        { reason: 'tpot', nearest: { tpotSeconds: fastest } },
        `allow tpotSeconds of ${up(fastest)} or more, turn on mtp, or choose faster memory and links`,
      );
    return error(
      `no GPU has room for the KV cache of one request of ${Math.round(traffic.contextMean)} tokens`,
      { reason: 'context', nearest: { gpus: 2 * gpus } },
      'use more GPUs so that each holds fewer experts, an FP8 cache (precision.attention), or shorter prompts',
    );
  }
  const fastest = fastestTtft(search, pools);
  if (fastest > slo.ttftSeconds)
    return error(
      Number.isFinite(fastest)
        ? `no layout of ${gpus} GPUs gives a first token in ${ms(slo.ttftSeconds)}: the fastest needs ${ms(fastest)} for a prompt of ${Math.round(traffic.newAtQuantile)} new tokens without any queue`
        : `no prefill layout of ${gpus} GPUs has room for prompts of ${Math.round(traffic.newAtQuantile)} tokens`,
      { reason: 'ttft', nearest: Number.isFinite(fastest) ? { ttftSeconds: fastest } : { gpus: 2 * gpus } },
      Number.isFinite(fastest)
        ? `allow ttftSeconds of ${up(fastest)} or more, or cache more of the prompts`
        : 'use more GPUs or shorter prompts',
    );
  const most = mostRate(search, pools);
  const needed = cheapest(search, rate, pools, mostGpus);
  const enough = Number.isFinite(needed) ? { gpus: needed } : {};
  if (most === 0)
    return error(
      `a prefill unit and a decode unit that keep the SLO need ${Number.isFinite(needed) ? needed : 'more than the allowed'} GPUs together, got ${gpus}`,
      { reason: 'rate', nearest: enough },
      Number.isFinite(needed) ? `use ${needed} GPUs, or relax the SLO` : 'relax the SLO',
    );
  return error(
    `${gpus} GPUs serve at most ${figure(most)} requests a second of this workload under the SLO, got ${figure(rate)}`,
    { reason: 'rate', nearest: { requestsPerSecond: most, ...enough } },
    Number.isFinite(needed)
      ? `use ${needed} GPUs, lower requestsPerSecond to ${figure(most)}, or relax the SLO`
      : `lower requestsPerSecond to ${figure(most)}, or relax the SLO`,
  );
}

function fastestTtft(search: SearchSpace, { mixed }: PoolOptions): number {
  const { traffic, request } = search;
  let best = Number.POSITIVE_INFINITY;
  for (const option of search.prefill) {
    const idle = option.requestsPerSecond * 1e-6;
    best = Math.min(best, ttftSeconds(option, traffic, 1, idle, request.slo.quantile));
  }
  for (const { prefillCost, cost, pieceTokens } of mixed) {
    const pieces = Math.ceil(traffic.newAtQuantile / pieceTokens);
    const tokens = Math.min(pieceTokens, traffic.newAtQuantile);
    best = Math.min(
      best,
      pieces *
        (prefillCost.prefillSeconds(tokens, traffic.cachedMean, 1) +
          cost.decodeSeconds(1, traffic.contextMean)),
    );
  }
  return best;
}

/** The smallest unit that holds the model, by memory alone. */
function gpusToHold(request: PlanRequest): number {
  const { accelerator, model, precision, mtp, blockSizeTokens } = request;
  for (const layout of layouts('decode', {
    accelerator,
    model,
    gpus: mostGpus,
    space: { extraSlots: [0] },
  })) {
    const pool = { units: 1, ...layout, maxTokensPerRank: 1, maxSequencesPerRank: 1 };
    const plan = memoryPlan({ accelerator, model, phase: 'decode', pool, precision, mtp, blockSizeTokens });
    if (plan.fits) return layout.tp * layout.dp;
  }
  return Number.POSITIVE_INFINITY;
}

function error(message: string, value: Infeasibility, remedy: string): SimulatorError {
  return new SimulatorError({ code: 'simulator/infeasible', message, value, remedy });
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

function ms(seconds: number): string {
  return seconds >= 1 ? `${seconds.toFixed(2)} s` : `${(1000 * seconds).toPrecision(3)} ms`;
}

/** Rounded up to three digits, so that the advice is enough. */
function up(value: number): string {
  const scale = 10 ** (2 - Math.floor(Math.log10(value)));
  return String(Number((Math.ceil(value * scale) / scale).toPrecision(3)));
}

function figure(value: number): string {
  return String(Number(value.toPrecision(3)));
}
