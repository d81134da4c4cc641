import { type FuzzResult, fuzzed, mutateText } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import { checkPlan } from '../src/operands.js';
import { decodeLoad, decodePlan, encodeLoad, encodePlan } from '../src/placement-file.js';
import { planExperts, planFromSlots } from '../src/plan.js';

/**
 * Damages valid placement and load files and reads them.
 *
 * @param seed - same seed, same inputs.
 * @throws Error naming seed and iteration when anything but a MoestackError or a whole plan comes out.
 */
export function fuzz(seed: number, iterations: number): Promise<FuzzResult> {
  const plan = encodePlan(
    planFromSlots([0, 1, 2, 0, 3, 1, 2, 3, 0, 1, 1, 2], {
      layers: 2,
      experts: 4,
      deployment: { nodes: 1, gpus: 2, replicas: 6, groups: 2 },
    }),
  );
  const load = encodeLoad({ layers: 2, experts: 2, counts: Float64Array.of(1, 2, 3, 4) });
  return fuzzed(seed, iterations, MoestackError.isInstance, (below) => {
    const isPlan = below(2) === 0;
    const text = mutateText(isPlan ? plan : load, below);
    if (!isPlan) return void decodeLoad(text);
    const decoded = decodePlan(text);
    checkPlan(decoded, planExperts(decoded));
  });
}
