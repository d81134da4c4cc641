import { MoestackError } from '@moestack/schemas/errors';
import { checkPlan } from '../src/operands.js';
import { decodeLoad, decodePlan, encodeLoad, encodePlan } from '../src/placement-file.js';
import { planExperts, planFromSlots } from '../src/plan.js';
import { SeededRandom } from '../src/random.js';

/** Outcome of {@link fuzz}. */
export interface FuzzResult {
  /** Mutated inputs tried. */
  runs: number;
  /** Inputs that ended in a MoestackError; the others were still valid. */
  rejected: number;
}

const HOSTILE = [
  '-1',
  '0',
  '1e9',
  '0.5',
  '4294967296',
  '1e400',
  'null',
  '[]',
  '"1"',
  '{',
  '}',
  '"',
  'AAAA',
  '=',
  '__proto__',
];

/**
 * Damages valid placement and load files and reads them.
 *
 * @param seed - same seed, same inputs.
 * @throws Error naming seed and iteration when anything but a MoestackError or a whole plan comes out.
 */
export function fuzz(seed: number, iterations: number): FuzzResult {
  const random = new SeededRandom(seed);
  const plan = encodePlan(
    planFromSlots([0, 1, 2, 0, 3, 1, 2, 3, 0, 1, 1, 2], {
      layers: 2,
      experts: 4,
      deployment: { nodes: 1, gpus: 2, replicas: 6, groups: 2 },
    }),
  );
  const load = encodeLoad({ layers: 2, experts: 2, counts: Float64Array.of(1, 2, 3, 4) });
  let rejected = 0;
  for (let run = 0; run < iterations; run++) {
    const isPlan = random.below(2) === 0;
    const text = mutate(isPlan ? plan : load, random);
    try {
      if (isPlan) {
        const decoded = decodePlan(text);
        checkPlan(decoded, planExperts(decoded));
      } else {
        decodeLoad(text);
      }
    } catch (error) {
      if (!MoestackError.isInstance(error)) {
        throw new Error(`seed ${seed}, iteration ${run}: not a MoestackError: ${String(error)}`, {
          cause: error,
        });
      }
      rejected++;
    }
  }
  return { runs: iterations, rejected };
}

function mutate(text: string, random: SeededRandom): string {
  for (let edits = 1 + random.below(3); edits > 0; edits--) {
    const at = random.below(text.length + 1);
    const kind = random.below(4);
    if (kind === 0)
      text = text.slice(0, at) + String.fromCharCode(32 + random.below(95)) + text.slice(at + 1);
    else if (kind === 1) text = text.slice(0, at) + text.slice(at + random.below(12));
    else if (kind === 2) text = text.slice(0, at) + HOSTILE[random.below(HOSTILE.length)]! + text.slice(at);
    else
      text = text.replace(/\d+/g, (number) =>
        random.below(6) === 0 ? HOSTILE[random.below(HOSTILE.length)]! : number,
      );
  }
  return text;
}
