import { readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { type ReplayDeployment, replay } from '../src/index.js';
import { fixtureBuffer } from './placement-cases.js';

interface Traces {
  deployments: {
    name: string;
    num_nodes: number;
    num_gpus: number;
    num_replicas: number;
    num_groups: number;
  }[];
  expert_bytes: number;
  traces: { name: string; file: string; shape: [number, number, number] }[];
}
interface Baseline {
  trace: string;
  deployment: string;
  policy: string;
  efficiency: number;
  migrated_fraction_per_10min: number;
  max_stall_ms_58_layers: number;
  score: number;
}

const data = readFixtureJson<Traces>('placement/drift/traces.json');
const baselines = readFixtureJson<{ results: Baseline[] }>('placement/drift/baselines.json').results;
const cases = data.traces.flatMap((trace) => {
  const [minutes, layers, experts] = trace.shape;
  const counts = new Uint16Array(fixtureBuffer(`placement/drift/${trace.file}`));
  return data.deployments.map((d) => ({
    trace: trace.name,
    name: d.name,
    load: { minutes, layers, experts, counts },
    deployment: {
      nodes: d.num_nodes,
      gpus: d.num_gpus,
      replicas: d.num_replicas,
      groups: d.num_groups,
      expertBytes: data.expert_bytes,
    } satisfies ReplayDeployment,
  }));
});

/** Least scores asked of the incremental policy. */
const least: Record<string, number> = {
  'drift_smooth prefill_ep32': 0.933,
  'drift_bursty prefill_ep32': 0.913,
  'drift_smooth decode_ep144': 0.829,
  'drift_bursty decode_ep144': 0.772,
  'drift_smooth decode_ep64_5': 0.902,
  'drift_bursty decode_ep64_5': 0.868,
};

describe.each(cases)('replay of $trace on $name', ({ trace, name, load, deployment }) => {
  const baseline = (policy: string): Baseline =>
    baselines.find((b) => b.trace === trace && b.deployment === name && b.policy === policy)!;
  const expectBaseline = (policy: string, result: ReturnType<typeof replay>): void => {
    const golden = baseline(policy);
    expect(result.score).toBeCloseTo(golden.score, 4);
    expect(result.efficiency).toBeCloseTo(golden.efficiency, 4);
    expect(result.migrated).toBeCloseTo(golden.migrated_fraction_per_10min, 4);
    expect(Math.abs(result.largestStallSeconds * 1e3 - golden.max_stall_ms_58_layers)).toBeLessThanOrEqual(
      0.5,
    );
  };
  const global = { ...deployment, groups: 1 };
  const eplb = replay(load, global, { policy: 'eplb' });

  it('gives the reference figures without a policy and with EPLB', () => {
    expectBaseline('none', replay(load, deployment, { policy: 'none' }));
    expectBaseline('eplb_10min_window10', eplb);
    if (name === 'prefill_ep32') {
      expectBaseline('eplb_hier_10min_window10', replay(load, deployment, { policy: 'eplb' }));
    }
  });

  it('scores above EPLB when adjusting, by far in bursts', () => {
    const ours = replay(load, deployment, { policy: 'incremental' });
    expect(ours.score).toBeGreaterThanOrEqual(least[`${trace} ${name}`]!);
    expect(ours.score).toBeGreaterThan(eplb.score + (trace === 'drift_bursty' ? 0.04 : 0));
    expect(ours.largestStallSeconds).toBeLessThanOrEqual(0.2);
  });

  it.runIf(name !== 'decode_ep144')('moves a fraction of what EPLB moves at the same cadence', () => {
    const ours = replay(load, deployment, { policy: 'incremental', everyMinutes: 10 });
    expect(ours.migrated).toBeLessThanOrEqual(0.15 * eplb.migrated);
    expect(ours.efficiency).toBeGreaterThanOrEqual(eplb.efficiency - 0.013);
  });
});

describe('replay', () => {
  it('calls an empty trace even and moves nothing', () => {
    const load = { minutes: 30, layers: 2, experts: 8, counts: new Uint16Array(30 * 16) };
    const deployment = { nodes: 2, gpus: 4, replicas: 12, expertBytes: 1 };
    for (const policy of ['none', 'eplb', 'incremental'] as const) {
      const result = replay(load, deployment, { policy });
      expect(result).toEqual({ score: 1, efficiency: 1, migrated: 0, largestStallSeconds: 0 });
    }
  });
});
