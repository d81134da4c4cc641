import type { DecodeOption } from './decode-option.js';
import { type PrefillOption, prefillRate } from './prefill-option.js';
import type { SearchSpace } from './search-space.js';

/** The most that can be had from a GPU at one speed. */
export interface FrontierPoint {
  /** Generated tokens a second of one user. */
  readonly tokensPerSecondPerUser: number;
  /** Generated tokens a second of one GPU, prefill GPUs counted. */
  readonly tokensPerSecondPerGpu: number;
  /** Whether it keeps the SLO. */
  readonly withinSlo: boolean;
  readonly decode: {
    readonly tp: number;
    readonly ep: number;
    readonly sequences: number;
    readonly redundantExperts: number;
  };
  readonly prefill: {
    readonly tp: number;
    readonly ep: number;
    readonly tokens: number;
    readonly redundantExperts: number;
  };
}

/** Times between tokens that are tried, as multiples of the SLO's. */
const multiples = [2, 1.6, 1.3, 1, 0.85, 0.7, 0.6, 0.5, 0.4, 0.32, 0.25, 0.2];

/** The Pareto set of speed and throughput: pools in proportion, whole units aside. */
export function frontier(search: SearchSpace): FrontierPoint[] {
  const { traffic, request } = search;
  let prefill: { option: PrefillOption; gpusPerRate: number } | undefined;
  for (const option of search.prefill) {
    const units = Math.max(1, Math.floor(request.gpus / option.gpus / 4));
    const gpusPerRate = (units * option.gpus) / prefillRate(option, traffic, units, request.slo);
    if (prefill === undefined || gpusPerRate < prefill.gpusPerRate) prefill = { option, gpusPerRate };
  }
  if (prefill === undefined || !Number.isFinite(prefill.gpusPerRate)) return [];
  const points: FrontierPoint[] = [];
  for (const multiple of multiples) {
    let best: DecodeOption | undefined;
    for (const option of search.decode(multiple * request.slo.tpotSeconds))
      if (best === undefined || option.requestsPerSecond / option.gpus > best.requestsPerSecond / best.gpus)
        best = option;
    if (best === undefined) continue;
    const gpusPerRate = prefill.gpusPerRate + best.gpus / best.requestsPerSecond;
    points.push({
      tokensPerSecondPerUser: 1 / best.tpotSeconds,
      tokensPerSecondPerGpu: traffic.outputMean / gpusPerRate,
      withinSlo: best.tpotSeconds <= request.slo.tpotSeconds,
      decode: labelOf(best),
      prefill: {
        tp: prefill.option.pool.tp,
        ep: prefill.option.pool.ep,
        tokens: prefill.option.pool.maxTokensPerRank,
        redundantExperts: prefill.option.pool.redundantExperts,
      },
    });
  }
  return pareto(points);
}

function labelOf({ pool }: DecodeOption): FrontierPoint['decode'] {
  return {
    tp: pool.tp,
    ep: pool.ep,
    sequences: pool.maxSequencesPerRank,
    redundantExperts: pool.redundantExperts,
  };
}

/** Points that no other beats in both, the slowest user first. */
export function pareto(points: readonly FrontierPoint[]): FrontierPoint[] {
  const sorted = [...points].sort(
    (a, b) =>
      b.tokensPerSecondPerUser - a.tokensPerSecondPerUser ||
      b.tokensPerSecondPerGpu - a.tokensPerSecondPerGpu,
  );
  let most = Number.NEGATIVE_INFINITY;
  const front = sorted.filter(({ tokensPerSecondPerGpu }) => {
    if (tokensPerSecondPerGpu <= most) return false;
    most = tokensPerSecondPerGpu;
    return true;
  });
  return front.reverse();
}
