import { MoestackError } from '@moestack/schemas/errors';
import {
  compareProposals,
  decodeNumbers,
  encodeNumbers,
  encodeProposal,
} from '../src/communicator/agreement.js';
import { normalize } from '../src/communicator/operation.js';
import { defaultLinkFit } from '../src/schedule/link-fit.js';

const operation = normalize({ op: 'allToAll', dtype: 'f32', sendCounts: 2, receiveCounts: 2 }, 0, 3);

/**
 * Mutates what another rank says in an agreement, `runs` times; throws when anything but an agreement or a typed error comes of it.
 */
export function fuzz(seed: number, runs: number): { runs: number; rejected: number } {
  let state = seed >>> 0;
  const next = (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const own = encodeProposal(operation, 3, defaultLinkFit);
  const numbers = encodeNumbers([1, 2, 3]);
  let rejected = 0;
  for (let run = 0; run < runs; run++) {
    const proposes = next(4) !== 0;
    const base = proposes ? own : numbers;
    const bytes = base.slice(0, next(3) === 0 ? next(base.length) : base.length);
    const changes = next(4);
    for (let change = 0; change < changes && bytes.length > 0; change++)
      bytes[next(bytes.length)] = next(256);
    try {
      if (proposes) {
        const { counts, tagBase } = compareProposals([own, own, bytes], operation);
        if (counts.length !== 9 || !Number.isSafeInteger(tagBase))
          throw new Error('an agreement without counts');
      } else {
        decodeNumbers([numbers, bytes]);
      }
    } catch (error) {
      if (!MoestackError.isInstance(error)) throw error;
      rejected++;
    }
  }
  return { runs, rejected };
}
