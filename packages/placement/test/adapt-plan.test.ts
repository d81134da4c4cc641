import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adaptPlan, type Deployment, type Load, lostExperts, rebalance } from '../src/index.js';
import { checkPlan } from '../src/operands.js';

const EXPERTS = 24;
const old: Deployment = { nodes: 2, gpus: 8, replicas: 32 };
const loads = fc
  .array(fc.nat(1000), { minLength: EXPERTS, maxLength: EXPERTS })
  .map((counts): Load => ({ layers: 1, experts: EXPERTS, counts: Float64Array.from(counts) }));

/** Experts that a GPU of the new plan holds and did not hold before. */
function received(
  before: Int32Array,
  after: Int32Array,
  survivors: number[],
  oldSlots: number,
  newSlots: number,
): number {
  let n = 0;
  survivors.forEach((from, gpu) => {
    const had = from < 0 ? [] : [...before.subarray(from * oldSlots, (from + 1) * oldSlots)];
    for (const expert of after.subarray(gpu * newSlots, (gpu + 1) * newSlots)) {
      const at = had.indexOf(expert);
      if (at < 0) n++;
      else had.splice(at, 1);
    }
  });
  return n;
}

describe('adaptPlan', () => {
  it('moves nothing when no GPU changes', () => {
    fc.assert(
      fc.property(loads, (load) => {
        const plan = rebalance(load, old);
        const adapted = adaptPlan(plan, old, { survivors: [0, 1, 2, 3, 4, 5, 6, 7], load });
        expect(adapted.physicalToLogical).toEqual(plan.physicalToLogical);
      }),
      { seed: 71, numRuns: 50 },
    );
  });

  it('moves only lost experts when GPUs are lost', () => {
    fc.assert(
      fc.property(
        loads,
        fc.subarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 6, maxLength: 6 }),
        (load, survivors) => {
          const plan = rebalance(load, old);
          const adapted = adaptPlan(plan, { nodes: 1, gpus: 6, replicas: 24 }, { survivors, load });
          checkPlan(adapted, EXPERTS);
          const moved = received(plan.physicalToLogical, adapted.physicalToLogical, survivors, 4, 4);
          expect(moved).toBe(lostExperts(plan, survivors).length);
        },
      ),
      { seed: 72, numRuns: 100 },
    );
  });

  it('fills new GPUs and leaves the others alone', () => {
    fc.assert(
      fc.property(loads, (load) => {
        const plan = rebalance(load, old);
        const survivors = [0, 1, 2, 3, 4, 5, 6, 7, -1, -1];
        const adapted = adaptPlan(plan, { nodes: 1, gpus: 10, replicas: 40 }, { survivors, load });
        checkPlan(adapted, EXPERTS);
        expect(adapted.physicalToLogical.subarray(0, 32)).toEqual(plan.physicalToLogical);
        expect(received(plan.physicalToLogical, adapted.physicalToLogical, survivors, 4, 4)).toBe(8);
      }),
      { seed: 73, numRuns: 50 },
    );
  });

  it('fits more experts on fewer GPUs and fewer on more', () => {
    fc.assert(
      fc.property(loads, fc.constantFrom(6, 7), (load, slots) => {
        const plan = rebalance(load, old);
        const adapted = adaptPlan(
          plan,
          { nodes: 1, gpus: 4, replicas: 4 * slots },
          { survivors: [7, 5, 3, 1], load },
        );
        checkPlan(adapted, EXPERTS);
        const wide = adaptPlan(
          plan,
          { nodes: 2, gpus: 12, replicas: 24 },
          {
            survivors: [0, 1, 2, 3, 4, 5, 6, 7, -1, -1, -1, -1],
            load,
            improve: true,
          },
        );
        checkPlan(wide, EXPERTS);
      }),
      { seed: 74, numRuns: 50 },
    );
  });

  it('refuses survivors that are not old GPUs', () => {
    const plan = rebalance({ layers: 1, experts: EXPERTS, counts: new Float64Array(EXPERTS) }, old);
    const deployment = { nodes: 1, gpus: 6, replicas: 24 };
    for (const survivors of [
      [0, 1, 2],
      [0, 1, 2, 3, 4, 8],
      [0, 1, 2, 3, 4, 4],
    ]) {
      expect(() => adaptPlan(plan, deployment, { survivors })).toThrowError(/GPU/);
    }
    expect(() =>
      adaptPlan(plan, { nodes: 1, gpus: 5, replicas: 20 }, { survivors: [0, 1, 2, 3, 4] }),
    ).toThrowError(/replicas >= experts/);
  });
});
