import { readFixture, readFixtureJson } from '@moestack/fixtures';
import type { Deployment, Load } from '../src/index.js';

/** One case of `placement/eplb/cases.json`. */
export interface EplbCase {
  name: string;
  load: Load;
  deployment: Deployment;
  physicalToLogical: Int16Array;
  replicaRank: Uint8Array;
  logicalCount: Int16Array;
  log2phy?: { shape: [number, number, number]; values: Int16Array };
  bounds: { mean: number[]; eplb: number[]; lower_bound: number[]; best_known: number[] };
}

interface CaseEntry {
  name: string;
  layers: number;
  experts: number;
  num_replicas: number;
  num_groups: number;
  num_nodes: number;
  num_gpus: number;
  weight_dtype: 'int32' | 'float32';
  log2phy_shape: [number, number, number];
  files: string[];
}

/** A copy of a fixture's bytes, aligned for any typed array. */
export function fixtureBuffer(name: string): ArrayBuffer {
  return Uint8Array.from(readFixture(name)).buffer;
}

const bounds = readFixtureJson<{ cases: (EplbCase['bounds'] & { name: string })[] }>(
  'placement/eplb/bounds.json',
);

export const eplbCases: readonly EplbCase[] = readFixtureJson<{ cases: CaseEntry[] }>(
  'placement/eplb/cases.json',
).cases.map((entry) => {
  const file = (part: string): ArrayBuffer => fixtureBuffer(`placement/eplb/${entry.name}.${part}.bin`);
  const weights = file('weight');
  return {
    name: entry.name,
    load: {
      layers: entry.layers,
      experts: entry.experts,
      counts: entry.weight_dtype === 'int32' ? new Int32Array(weights) : new Float32Array(weights),
    },
    deployment: {
      nodes: entry.num_nodes,
      gpus: entry.num_gpus,
      replicas: entry.num_replicas,
      groups: entry.num_groups,
    },
    physicalToLogical: new Int16Array(file('phy2log')),
    replicaRank: new Uint8Array(file('phyrank')),
    logicalCount: new Int16Array(file('logcnt')),
    ...(entry.files.includes('log2phy')
      ? { log2phy: { shape: entry.log2phy_shape, values: new Int16Array(file('log2phy')) } }
      : {}),
    bounds: bounds.cases.find((b) => b.name === entry.name)!,
  };
});

/** Highest GPU load of each layer. */
export function maxima(loads: Float64Array, gpus: number): number[] {
  return Array.from({ length: loads.length / gpus }, (_, layer) =>
    Math.max(...loads.subarray(layer * gpus, (layer + 1) * gpus)),
  );
}
