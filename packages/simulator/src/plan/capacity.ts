import { sizeDecode, sizeMixed, sizePrefill } from './candidate.js';
import type { DecodeOption } from './decode-option.js';
import type { MixedOption } from './mixed-option.js';
import type { PrefillOption } from './prefill-option.js';
import type { SearchSpace } from './search-space.js';

/** What pools can be made of. */
export interface PoolOptions {
  readonly prefill: readonly PrefillOption[];
  readonly decode: readonly DecodeOption[];
  readonly mixed: readonly MixedOption[];
}

/** GPUs of the cheapest deployment for `rate`, at most `gpus`; infinite where there is none. */
export function cheapest(
  search: SearchSpace,
  rate: number,
  options: PoolOptions,
  gpus: number = search.request.gpus,
): number {
  let first = Number.POSITIVE_INFINITY;
  for (const option of options.prefill) {
    if (Math.ceil(rate / option.requestsPerSecond) * option.gpus >= first) continue;
    const sized = sizePrefill(search, option, rate, gpus);
    if (sized !== undefined) first = Math.min(first, sized.units * option.gpus);
  }
  let second = Number.POSITIVE_INFINITY;
  for (const option of options.decode) {
    const sized = sizeDecode(option, rate, gpus);
    if (sized !== undefined) second = Math.min(second, sized.units * option.gpus);
  }
  let together = first + second;
  for (const option of options.mixed) {
    if (Math.ceil(rate / option.requestsPerSecond) * option.gpus >= together) continue;
    const sized = sizeMixed(search, option, rate, gpus);
    if (sized !== undefined) together = Math.min(together, sized.units * option.gpus);
  }
  return together;
}

/** Most requests a second that the GPUs of the request serve; 0 where they serve none. */
export function mostRate(search: SearchSpace, options: PoolOptions): number {
  const { gpus } = search.request;
  const ceiling = [...options.decode, ...options.mixed].reduce(
    (most, option) => Math.max(most, (option.requestsPerSecond * gpus) / option.gpus),
    0,
  );
  const smallest = ceiling * 1e-6;
  if (ceiling === 0 || cheapest(search, smallest, options) > gpus) return 0;
  let low = smallest;
  let high = ceiling;
  for (let i = 0; i < 24 && high - low > 1e-3 * high; i++) {
    const middle = (low + high) / 2;
    if (cheapest(search, middle, options) <= gpus) low = middle;
    else high = middle;
  }
  return low;
}
