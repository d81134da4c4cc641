import { SimulatorError } from '../errors.js';
import type { MeasuredSystem } from '../hardware/accelerator.js';
import { gb200 } from './data/gb200.js';
import { h100 } from './data/h100.js';
import { h200 } from './data/h200.js';

/** Kinds of measured kernels; the multi-node DeepEP tables of H100 and H200 are one collection. */
export type KernelTableName =
  | 'mla_context'
  | 'mla_generation'
  | 'moe_context'
  | 'moe_generation'
  | 'deepep_ll'
  | 'deepep_normal'
  | 'deepep_ll_multinode'
  | 'deepep_normal_multinode';

/** Measurements of one kind: numbers alone, `kernel_source` by its place in {@link kernelSources}, `distribution` by its exponent (0: uniform). */
export interface KernelTable {
  readonly columns: readonly string[];
  /** How many leading columns say what was measured; the others are results. */
  readonly inputs: number;
  /** Unit of the results. */
  readonly unit: 'ms' | 'us';
  readonly rows: readonly Float64Array[];
}

/** Attention kernels in the order of their numbers in tables. */
export const kernelSources: readonly string[] = ['flashinfer', 'fa3', 'trtllm_mla'];

const mla = ['kernel_source', 'num_heads', 'batch_size', 'isl', 'latency'];
const moe = ['num_tokens', 'moe_ep_size', 'distribution', 'latency'];
const lowLatency = ['node_num', 'num_token', 'num_experts', 'dispatch_avg_t_us', 'combine_avg_t_us'];
const normal = [
  'node_num',
  'num_token',
  'num_experts',
  'dispatch_sms',
  'dispatch_transmit_us',
  'dispatch_notify_us',
  'combine_transmit_us',
  'combine_notify_us',
];

const layouts: Readonly<Record<KernelTableName, Omit<KernelTable, 'rows'>>> = {
  mla_context: { columns: mla, inputs: 4, unit: 'ms' },
  mla_generation: { columns: mla, inputs: 4, unit: 'ms' },
  moe_context: { columns: moe, inputs: 3, unit: 'ms' },
  moe_generation: { columns: moe, inputs: 3, unit: 'ms' },
  deepep_ll: { columns: lowLatency, inputs: 3, unit: 'us' },
  deepep_ll_multinode: { columns: lowLatency, inputs: 3, unit: 'us' },
  deepep_normal: { columns: normal, inputs: 4, unit: 'us' },
  deepep_normal_multinode: { columns: normal, inputs: 4, unit: 'us' },
};

/** Names of all kinds of tables. */
export const kernelTableNames: readonly KernelTableName[] = Object.keys(layouts) as KernelTableName[];

const texts: Readonly<Record<MeasuredSystem, Readonly<Record<string, string>>>> = {
  h100_sxm: h100,
  h200_sxm: { ...h200, ...pick(h100, ['deepep_ll_multinode', 'deepep_normal_multinode']) },
  gb200,
};

const parsed = new Map<string, KernelTable>();

/** Whether a system was measured in this respect. */
export function hasKernelTable(system: MeasuredSystem, name: KernelTableName): boolean {
  return texts[system][name] !== undefined;
}

/**
 * Measured kernel times of DeepSeek-V3's shapes.
 *
 * @throws SimulatorError `simulator/bad-config` for a table that does not exist.
 */
export function kernelTable(system: MeasuredSystem, name: KernelTableName): KernelTable {
  const key = `${system}.${name}`;
  let table = parsed.get(key);
  if (table === undefined) {
    const text = texts[system]?.[name];
    if (text === undefined) {
      throw new SimulatorError({
        code: 'simulator/bad-config',
        message: `expected a measured kernel table, got ${key}`,
        value: key,
        remedy: 'pass one that hasKernelTable knows',
      });
    }
    table = {
      ...layouts[name],
      rows: text.split(';').map((row) => Float64Array.from(row.split(' '), Number)),
    };
    parsed.set(key, table);
  }
  return table;
}

function pick(from: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, from[name] ?? '']));
}
