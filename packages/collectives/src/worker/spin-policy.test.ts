import { describe, expect, it } from 'vitest';
import { SpinPolicy } from './spin-policy.js';

function waits(policy: SpinPolicy, count: number, slept: boolean): number[] {
  return Array.from({ length: count }, () => {
    const polls = policy.begin();
    if (slept) policy.sleep();
    return polls;
  });
}

describe('SpinPolicy', () => {
  it('spins long while waits are short, also after a few long ones', () => {
    const policy = new SpinPolicy(2000);
    expect(new Set(waits(policy, 100, false))).toEqual(new Set([2000]));
    expect(new Set(waits(policy, 7, true))).toEqual(new Set([2000]));
    expect(new Set(waits(policy, 100, false))).toEqual(new Set([2000]));
  });

  it('spins shortly when spinning is useless, tries again now and then, and recovers', () => {
    const policy = new SpinPolicy(2000);
    waits(policy, 9, true);
    const crowded = waits(policy, 2048, true);
    expect(crowded.filter((polls) => polls === 2000)).toHaveLength(128);
    expect(crowded.filter((polls) => polls === 64)).toHaveLength(1920);
    expect(waits(policy, 20, false).at(-1)).toBe(2000);
  });

  it('never spins longer than it may', () => {
    expect(Math.max(...waits(new SpinPolicy(10), 200, true))).toBe(10);
  });
});
