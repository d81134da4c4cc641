import { readFixtureJson } from '@moestack/fixtures';
import {
  type Accelerator,
  accelerators,
  createStepCostModel,
  type Deployment,
  deepSeekV3,
  type Pool,
  type StepCostModel,
} from '../../src/index.js';

/** A measured row, with the names of its columns. */
export type SiliconRow = Readonly<Record<string, number | string | null>>;

/** What the cost model says about a row before anything is fitted. */
export interface SiliconPrediction {
  readonly tpotSeconds: number;
  readonly ttftSeconds: number;
  /** Sequences of a decoding data-parallel rank. */
  readonly batch: number;
  readonly accelerator: string;
}

/** GPUs that the presets lack, derived from their predecessors: more FP4, more memory. */
const b300: Accelerator = {
  ...accelerators.b200,
  name: 'B300',
  memoryBytes: 288e9,
  flopsPerSecond: { bf16: 2250e12, fp8: 4500e12, fp4: 13_500e12 },
};
const systems: Readonly<Record<string, Accelerator>> = {
  h100_sxm: accelerators.h100,
  h200_sxm: accelerators.h200,
  b200_sxm: accelerators.b200,
  b300_sxm: b300,
  gb200: accelerators.gb200,
  gb300: {
    ...accelerators.gb200,
    name: 'GB300 NVL72',
    memoryBytes: 288e9,
    flopsPerSecond: { bf16: 2500e12, fp8: 5000e12, fp4: 15_000e12 },
  },
};

export function siliconRows(): SiliconRow[] {
  const { columns, rows } = readFixtureJson<{ columns: string[]; rows: (number | string | null)[][] }>(
    'simulator/deepseek_measured.json',
  );
  return rows.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i]!])));
}

/** Everything about a row but its load: rows of one configuration are never split between fitting and judging. */
export function configurationOf(row: SiliconRow): string {
  const load = [
    'row',
    'concurrency',
    'batch_size',
    'prefill_batch_size',
    'decode_batch_size',
    'ttft_ms',
    'tpot_ms',
    'derived_out_tok_s_per_gpu',
  ];
  return JSON.stringify(Object.entries(row).filter(([name]) => !load.includes(name)));
}

const number = (value: number | string | null | undefined, otherwise: number): number =>
  typeof value === 'number' ? value : otherwise;

/** A worker as a pool. Engines report data-parallel attention in several ways; the GPUs are the larger of both products. */
function poolOf(row: SiliconRow, prefix: string, accelerator: Accelerator): Pool {
  const column = (name: string): number => number(row[`${prefix}${name}`], 1);
  const tp = column('tp_size');
  const ep = column('moe_ep_size');
  const dpNamed = column('attention_dp_size');
  // With attention_dp equal to tp, the same GPUs are named twice (TensorRT-LLM).
  const dp = Math.max(dpNamed, 1, Math.ceil((column('moe_tp_size') * ep) / tp));
  const split = dpNamed > 1 && dpNamed === tp ? { tp: 1, dp: dpNamed } : { tp: divisor(tp), dp };
  const gpus = split.tp * split.dp;
  return {
    units: Math.max(1, number(row[`${prefix}num_workers`], 1)),
    gpusPerNode: accelerator.gpusPerServer,
    ...split,
    ep: gpus % ep === 0 ? ep : 1,
    redundantExperts: 0,
    maxTokensPerRank: 16_384,
    maxSequencesPerRank: 4096,
    overlap: { enabled: false, communicationSms: 0 },
  };
}

/** Attention heads are split by powers of two; engines pad other numbers. */
function divisor(tp: number): number {
  return 2 ** Math.floor(Math.log2(Math.min(128, tp)));
}

const models = new Map<string, StepCostModel>();

function modelOf(
  accelerator: Accelerator,
  deployment: Deployment,
  role: 'prefill' | 'decode',
): StepCostModel {
  const key = JSON.stringify([accelerator.name, deployment, role]);
  let model = models.get(key);
  if (model === undefined) {
    model = createStepCostModel({ accelerator, model: deepSeekV3, deployment, role });
    models.set(key, model);
  }
  return model;
}

const predictions = new WeakMap<SiliconRow, SiliconPrediction>();

/** Steady decoding and a start in a burst, in closed form; computed once a row. */
export function predictRow(row: SiliconRow): SiliconPrediction {
  let prediction = predictions.get(row);
  if (prediction === undefined) {
    prediction = compute(row);
    predictions.set(row, prediction);
  }
  return prediction;
}

function compute(row: SiliconRow): SiliconPrediction {
  const accelerator = systems[String(row['system'])]!;
  const disaggregated = row['mode'] === 'disagg';
  const decode = poolOf(row, disaggregated ? 'decode_' : '', accelerator);
  const prefill = disaggregated ? poolOf(row, 'prefill_', accelerator) : null;
  const deployment: Deployment = {
    schemaVersion: 1,
    prefill,
    decode,
    precision: {
      weights: row['precision'] === 'fp4' && accelerator.flopsPerSecond.fp4 !== null ? 'fp4' : 'fp8',
      attention: 'fp8',
      dispatch: 'fp8',
    },
    mtp: { enabled: false, draftTokens: 1, acceptance: 0.8 },
    skew: { kind: 'balanced' },
    blockSizeTokens: 64,
  };
  const decoder = modelOf(accelerator, deployment, 'decode');
  const prefiller = modelOf(accelerator, deployment, 'prefill');
  const concurrency = number(row['concurrency'], 1);
  const isl = number(row['isl'], 1024);
  const osl = number(row['osl'], 1024);
  const pool = prefill ?? decode;
  const perStep = Math.max(1, Math.floor(pool.maxTokensPerRank / isl));
  const alone = prefiller.prefillSeconds(isl, 0, 1);
  const full = prefiller.prefillSeconds(perStep * isl, 0, perStep);
  // Seconds of a prompt when all ranks are busy.
  const each = full / (perStep * pool.dp * pool.units);
  const decoders = decode.dp * decode.units;
  let tpot = 0.02;
  let ttft = alone;
  let batch = 1;
  for (let i = 0; i < 40; i++) {
    const decoding = (concurrency * tpot * osl) / (ttft + tpot * osl);
    batch = Math.max(1, decoding / decoders);
    const context = batch * (isl + osl / 2);
    let next = decoder.decodeSeconds(batch, context);
    // Where one pool does both, every step carries the prompts of those that replace the finished.
    if (!disaggregated) next += (prefiller.prefillSeconds(isl, 0, 1) * batch) / osl;
    tpot = (tpot + next) / 2;
    // All users come at once; later ones meet whoever came with them.
    const burst = (concurrency * each) / 2;
    const cycle = osl * tpot;
    const load = Math.min(0.95, (concurrency * each) / cycle);
    ttft = (ttft + alone + burst * BURST_SHARE + (each * load) / (1 - load)) / 2;
  }
  return { tpotSeconds: tpot, ttftSeconds: ttft, batch, accelerator: accelerator.name };
}

/** Share of a benchmark's requests that belong to its first wave: engines' load generators send ten waves. */
const BURST_SHARE = 0.1;
