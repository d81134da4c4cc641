import type { Random } from '../random.js';
import { leastLoaded, type Policy } from './policy.js';

/** One after the other. */
export function roundRobin(): Policy {
  let next = 0;
  return {
    choose(candidates) {
      const chosen = candidates[next % candidates.length]!;
      next = (next + 1) % 0x7fff_ffff;
      return chosen;
    },
  };
}

/** The fewest requests in flight; equals in turn. */
export function leastLoadedPolicy(): Policy {
  let next = 0;
  return {
    choose(candidates) {
      const chosen = leastLoaded(candidates, next);
      next = (next + 1) % 0x7fff_ffff;
      return chosen;
    },
  };
}

/** The less loaded of two drawn at random: nearly as even as looking at all, without herds. */
export function powerOfTwo(random: Random): Policy {
  return {
    choose(candidates) {
      const { length } = candidates;
      if (length === 1) return candidates[0]!;
      const first = Math.floor(random() * length);
      // One of the others, each as likely.
      const second = (first + 1 + Math.floor(random() * (length - 1))) % length;
      const [a, b] = [candidates[first]!, candidates[second]!];
      return b.running < a.running ? b : a;
    },
  };
}
