import { DetectError } from '../errors.js';

/** Units `[start, end)` that evidence gives to one side. */
export interface Segment {
  readonly start: number;
  readonly end: number;
  readonly isAi: boolean;
}

/**
 * Cuts a row of units into runs of human and AI ones: the exact maximum of the summed evidence minus a penalty for every change, by
 * dynamic programming in linear time.
 *
 * @param evidence - log-odds of AI of each unit by itself `[n]`; they must be finite
 * @param penalty - what a change of sides costs, at least 0: larger gives fewer segments
 */
export function segmentEvidence(evidence: ArrayLike<number>, penalty: number): Segment[] {
  const n = evidence.length;
  if (!(penalty >= 0)) throw badValue('penalty', penalty, 'pass a number of nats that is not negative');
  // Best totals that end on either side, and whether the best way to be there came from the other.
  let human = 0;
  let ai = 0;
  const humanFromAi = new Uint8Array(n);
  const aiFromHuman = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    const value = evidence[i]!;
    if (!Number.isFinite(value))
      throw badValue(`evidence at index ${i}`, value, 'give units that cannot be scored an evidence of 0');
    const free = i === 0 ? 0 : penalty;
    humanFromAi[i] = i > 0 && ai - free > human ? 1 : 0;
    aiFromHuman[i] = i > 0 && human - free > ai ? 1 : 0;
    const nextHuman = Math.max(human, ai - free) - value / 2;
    const nextAi = Math.max(ai, human - free) + value / 2;
    human = nextHuman;
    ai = nextAi;
  }
  const segments: Segment[] = [];
  let isAi = ai > human;
  let end = n;
  for (let i = n - 1; i >= 0; i--) {
    const changes = (isAi ? aiFromHuman[i]! : humanFromAi[i]!) === 1;
    if (!changes && i > 0) continue;
    segments.unshift({ start: i, end, isAi });
    end = i;
    if (changes) {
      isAi = !isAi;
    }
  }
  return segments;
}

function badValue(name: string, value: number, remedy: string): DetectError {
  return new DetectError({
    code: 'detect/bad-config',
    message: `expected a finite number for ${name}, got ${value}`,
    value: String(value),
    remedy,
  });
}
