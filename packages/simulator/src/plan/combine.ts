import { type Sized, sizeDecode, sizeMixed, sizePrefill } from './candidate.js';
import type { PoolOptions } from './capacity.js';
import type { DecodeOption } from './decode-option.js';
import { type Draft, mixedDraft, splitDraft } from './draft.js';
import type { MixedOption } from './mixed-option.js';
import { type PrefillOption, prefillRate } from './prefill-option.js';
import type { SearchSpace } from './search-space.js';

/** Options of each pool that are combined. */
const kept = 24;

/** Called after each part of the work. */
type Step = (done: number, total: number) => Promise<void>;

/** Deployments for `rate`, the best first. */
export async function combineForDemand(
  search: SearchSpace,
  rate: number,
  pools: PoolOptions,
  step: Step,
): Promise<Draft[]> {
  const { gpus } = search.request;
  const first = fewestGpus(pools.prefill.map((option) => sizePrefill(search, option, rate, gpus)));
  const second = fewestGpus(pools.decode.map((option) => sizeDecode(option, rate, gpus)));
  const whole = fewestGpus(pools.mixed.map((option) => sizeMixed(search, option, rate, gpus)));
  const drafts: Draft[] = [];
  for (const [index, one] of first.entries()) {
    for (const other of second)
      if (one.units * one.option.gpus + other.units * other.option.gpus <= gpus)
        drafts.push(splitDraft(search, rate, one, other));
    await step(index + 1, first.length);
  }
  for (const one of whole) drafts.push(mixedDraft(search, rate, one));
  return drafts.sort(
    ({ candidate: a }, { candidate: b }) =>
      a.gpus - b.gpus || b.requestsPerSecond - a.requestsPerSecond || a.ttftSeconds - b.ttftSeconds,
  );
}

/** Deployments that fill the cluster, those that serve most first; `rate` is the most that any of them serves. */
export async function combineForCluster(
  search: SearchSpace,
  rate: number,
  pools: PoolOptions,
  step: Step,
): Promise<Draft[]> {
  const { request, traffic } = search;
  const { gpus, slo } = request;
  const first = new Set<PrefillOption>();
  const second = new Set<DecodeOption>();
  const whole = new Set<MixedOption>();
  for (const share of [1, 0.9]) {
    for (const { option } of fewestGpus(
      pools.prefill.map((each) => sizePrefill(search, each, share * rate, gpus)),
    ))
      first.add(option);
    for (const { option } of fewestGpus(pools.decode.map((each) => sizeDecode(each, share * rate, gpus))))
      second.add(option);
    for (const { option } of fewestGpus(
      pools.mixed.map((each) => sizeMixed(search, each, share * rate, gpus)),
    ))
      whole.add(option);
  }
  const drafts: Draft[] = [];
  let done = 0;
  for (const one of first) {
    const most = Math.floor((gpus - 1) / one.gpus);
    const rates = Array.from({ length: most }, (_, index) => prefillRate(one, traffic, index + 1, slo));
    for (const other of second) {
      const split = bestSplit(gpus, one, rates, other);
      if (split === undefined) continue;
      const { units, others, served } = split;
      drafts.push(
        splitDraft(
          search,
          served,
          { option: one, units, rate: rates[units - 1]! },
          { option: other, units: others, rate: others * other.requestsPerSecond },
        ),
      );
    }
    await step(++done, first.size);
  }
  for (const option of whole) {
    const units = Math.floor(gpus / option.gpus);
    const served = mostOfMixed(search, option, units);
    if (served > 0)
      drafts.push(mixedDraft(search, served, { option, units, rate: units * option.requestsPerSecond }));
  }
  return drafts.sort(
    ({ candidate: a }, { candidate: b }) => b.requestsPerSecond - a.requestsPerSecond || a.gpus - b.gpus,
  );
}

/** How many of the GPUs prefill: the split at which both pools serve most, with the fewest units for it. */
function bestSplit(
  gpus: number,
  one: PrefillOption,
  rates: readonly number[],
  other: DecodeOption,
): { units: number; others: number; served: number } | undefined {
  let best: { units: number; others: number; served: number } | undefined;
  for (const [index, rate] of rates.entries()) {
    const units = index + 1;
    const others = Math.floor((gpus - units * one.gpus) / other.gpus);
    if (others < 1) break;
    const served = Math.min(rate, others * other.requestsPerSecond);
    if (served > (best?.served ?? 0)) best = { units, others, served };
  }
  if (best === undefined) return undefined;
  const { units, served } = best;
  return { units, served, others: Math.max(1, Math.ceil(served / other.requestsPerSecond - 1e-9)) };
}

function mostOfMixed(search: SearchSpace, option: MixedOption, units: number): number {
  if (units === 0) return 0;
  let low = 0;
  let high = units * option.requestsPerSecond;
  for (let i = 0; i < 20; i++) {
    const middle = (low + high) / 2;
    if (sizeMixed(search, option, middle, units * option.gpus) === undefined) high = middle;
    else low = middle;
  }
  return low;
}

function fewestGpus<Option extends { readonly gpus: number }>(
  sized: readonly (Sized<Option> | undefined)[],
): Sized<Option>[] {
  return sized
    .filter((each) => each !== undefined)
    .sort((a, b) => a.units * a.option.gpus - b.units * b.option.gpus)
    .slice(0, kept);
}
