import { mixedCandidate, type PlanCandidate, type Sized, splitCandidate } from './candidate.js';
import type { DecodeOption } from './decode-option.js';
import type { MixedOption } from './mixed-option.js';
import { type PrefillOption, prefillRate } from './prefill-option.js';
import type { SearchSpace } from './search-space.js';

/** A candidate that can be made larger, or planned for another rate, when a simulation asks for it. */
export interface Draft {
  readonly candidate: PlanCandidate;
  /** The same layouts with more units, for `rate` requests a second. */
  readonly resize: (more: { prefill: number; decode: number }, rate: number) => Draft;
}

/** A draft of a prefill and a decode pool. */
export function splitDraft(
  search: SearchSpace,
  rate: number,
  prefill: Sized<PrefillOption>,
  decode: Sized<DecodeOption>,
): Draft {
  return {
    candidate: splitCandidate(search, rate, prefill, decode),
    resize: (more, next) => {
      const units = prefill.units + more.prefill;
      const others = decode.units + more.decode;
      const { traffic, request } = search;
      return splitDraft(
        search,
        next,
        { option: prefill.option, units, rate: prefillRate(prefill.option, traffic, units, request.slo) },
        { option: decode.option, units: others, rate: others * decode.option.requestsPerSecond },
      );
    },
  };
}

/** A draft of one pool that does both. */
export function mixedDraft(search: SearchSpace, rate: number, sized: Sized<MixedOption>): Draft {
  return {
    candidate: mixedCandidate(search, rate, sized),
    resize: (more, next) => {
      const units = sized.units + Math.max(more.prefill, more.decode);
      const { option } = sized;
      return mixedDraft(search, next, { option, units, rate: units * option.requestsPerSecond });
    },
  };
}
