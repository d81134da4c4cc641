import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MismatchError } from '../errors.js';
import { defaultLinkFit } from '../schedule/link-fit.js';
import {
  compareProposals,
  decodeNumbers,
  encodeNumbers,
  encodeProposal,
  encodeRefusal,
} from './agreement.js';
import { normalize } from './operation.js';

const operation = normalize(
  { op: 'allToAll', dtype: 'f32', sendCounts: [1, 2, 3], receiveCounts: [1, 2, 3] },
  0,
  3,
);
const own = encodeProposal(operation, 4, defaultLinkFit);

/** The proposal of another rank of the same exchange: rank r sends r + 1 to everyone. */
function proposalOf(rank: number, tagBase: number): Uint8Array {
  const counts = [1, 2, 3].map(
    (_, peer) =>
      [
        [1, 2, 3],
        [2, 2, 5],
        [3, 5, 9],
      ][rank]?.[peer] as number,
  );
  const receives = [1, 2, 3].map(
    (_, peer) =>
      [
        [1, 2, 3],
        [2, 2, 5],
        [3, 5, 9],
      ][peer]?.[rank] as number,
  );
  const request = { op: 'allToAll', dtype: 'f32', sendCounts: counts, receiveCounts: receives } as const;
  return encodeProposal(normalize(request, rank, 3), tagBase, defaultLinkFit);
}

describe('compareProposals', () => {
  it('agrees on the highest tag and the matrix of counts', () => {
    const agreed = compareProposals([proposalOf(0, 4), proposalOf(1, 9), proposalOf(2, 0)], operation);
    expect(agreed.tagBase).toBe(9);
    expect([...Array.from(agreed.counts)]).toEqual([1, 2, 3, 2, 2, 5, 3, 5, 9]);
  });

  it('names ranks that refused, with their reason', () => {
    const refusal = encodeRefusal('expected 3 elements in input, got 4');
    expect(() => compareProposals([own, refusal, refusal], operation)).toThrow(
      expect.objectContaining({
        field: 'arguments',
        ranks: [1, 2],
        message: expect.stringContaining('got 4'),
      }),
    );
  });

  it('answers bytes of any kind with a MismatchError or an agreement, never with anything else', () => {
    const mutated = fc
      .tuple(
        fc.constantFrom(own, proposalOf(1, 0), encodeNumbers([1, 2])),
        fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 6 }),
        fc.nat(300),
      )
      .map(([base, changes, length]) => {
        const bytes = base.slice(0, Math.max(0, base.length - (length % 40)));
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        return bytes;
      });
    const payload = fc.oneof(mutated, fc.uint8Array({ maxLength: 200 }));
    fc.assert(
      fc.property(payload, payload, (first, second) => {
        for (const parse of [
          () => compareProposals([own, first, second], operation),
          () => decodeNumbers([encodeNumbers([1]), first, second]),
        ]) {
          try {
            parse();
          } catch (error) {
            expect(MismatchError.isInstance(error)).toBe(true);
          }
        }
      }),
      { seed: 8, numRuns: 2000 },
    );
  });
});
