import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createReplicaSelector,
  initialPlan,
  type Plan,
  planFromSlots,
  type ReplicaPolicy,
} from '../src/index.js';

const deployment = { nodes: 2, gpus: 4, replicas: 12 };
/** 6 experts, 3 slots a GPU; expert 0 is on GPUs 0, 1, 2 and 3, expert 1 on GPU 0 and 3. */
const plan: Plan = planFromSlots([0, 1, 2, 0, 3, 4, 0, 5, 2, 0, 1, 3], { layers: 1, experts: 6, deployment });

function select(
  policy: ReplicaPolicy,
  ids: number[],
  options: { sourceGpu?: number; seed?: number } = {},
): number[] {
  const out = new Int32Array(ids.length);
  createReplicaSelector(plan, { policy, ...options }).selectInto(0, Int32Array.from(ids), out);
  return [...out];
}

describe('replica selection', () => {
  it('takes the flat position modulo the count as vLLM does', () => {
    expect(select('roundRobin', [0, 0, 1, 1, 0, -1, 4, 0])).toEqual([0, 3, 1, 10, 0, -1, 5, 9]);
  });

  it('keeps to the own GPU, then to the own node', () => {
    expect(select('localFirst', [0, 1, 2, 5], { sourceGpu: 0 })).toEqual([0, 1, 2, 7]);
    expect(select('localFirst', [1, 1, 3], { sourceGpu: 1 })).toEqual([1, 1, 4]);
    expect(select('localFirst', [4, 3, 1, 5], { sourceGpu: 3 })).toEqual([5, 11, 10, 7]);
  });

  it('takes turns among equally near replicas', () => {
    const far = planFromSlots([1, 2, 0, 0], {
      layers: 1,
      experts: 3,
      deployment: { nodes: 2, gpus: 4, replicas: 4 },
    });
    const out = new Int32Array(4);
    createReplicaSelector(far, { policy: 'localFirst' }).selectInto(0, Int32Array.of(0, 0, 0, 0), out);
    expect([...out]).toEqual([2, 3, 2, 3]);
  });

  it('is fixed for a source under static and spreads sources', () => {
    const flat = { nodes: 4, gpus: 4, replicas: 4 };
    const two = planFromSlots([0, 0, 1, 2], { layers: 1, experts: 3, deployment: flat });
    const slots = [2, 3].map((sourceGpu) => {
      const out = new Int32Array(3);
      createReplicaSelector(two, { policy: 'static', sourceGpu }).selectInto(0, Int32Array.of(0, 0, 0), out);
      expect(new Set(out).size).toBe(1);
      return out[0];
    });
    expect(new Set(slots)).toEqual(new Set([0, 1]));
  });

  it('sends to the GPU that has received least', () => {
    expect(select('leastLoaded', [1, 0, 0, 0, 0, 1])).toEqual([1, 3, 6, 9, 0, 10]);
  });

  it('gives the same draw for the same seed', () => {
    const ids = Array.from({ length: 64 }, (_, i) => i % 2);
    expect(select('random', ids, { seed: 5 })).toEqual(select('random', ids, { seed: 5 }));
    expect(select('random', ids, { seed: 5 })).not.toEqual(select('random', ids, { seed: 6 }));
  });

  it('always names a slot that holds the expert', () => {
    const policies: ReplicaPolicy[] = ['static', 'random', 'roundRobin', 'leastLoaded', 'localFirst'];
    fc.assert(
      fc.property(
        fc.constantFrom(...policies),
        fc.array(fc.integer({ min: -1, max: 5 }), { maxLength: 40 }),
        fc.integer({ min: 0, max: 3 }),
        (policy, ids, sourceGpu) => {
          const slots = select(policy, ids, { sourceGpu, seed: 1 });
          slots.forEach((slot, i) => {
            expect(slot < 0 ? -1 : plan.physicalToLogical[slot]).toBe(ids[i]);
          });
        },
      ),
      { seed: 3 },
    );
  });

  it('switches one layer at a time', () => {
    const before = initialPlan(2, 6, deployment);
    const after = planFromSlots([...plan.physicalToLogical, ...plan.physicalToLogical], {
      layers: 2,
      experts: 6,
      deployment,
    });
    const selector = createReplicaSelector(before);
    const out = new Int32Array(2);
    selector.switchLayer(1, after);
    selector.selectInto(0, Int32Array.of(1, 1), out);
    expect([...out]).toEqual([1, 7]);
    selector.selectInto(1, Int32Array.of(1, 1), out);
    expect([...out]).toEqual([1, 10]);
  });

  it('refuses what it cannot serve before writing', () => {
    const out = new Int32Array(2).fill(7);
    const selector = createReplicaSelector(plan);
    expect(() => selector.selectInto(0, Int32Array.of(0, 6), out)).toThrowError(/logical ids/);
    expect(() => selector.selectInto(1, Int32Array.of(0, 0), out)).toThrowError(/layer/);
    expect(() => selector.selectInto(0, Int32Array.of(0), out)).toThrowError(/physicalIds/);
    expect(() => createReplicaSelector(plan, { sourceGpu: 4 })).toThrowError(/sourceGpu/);
    expect([...out]).toEqual([7, 7]);
  });
});
