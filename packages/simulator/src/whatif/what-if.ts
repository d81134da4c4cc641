import { createStepCostModel } from '../cost/create-step-cost-model.js';
import type { Deployment, Pool } from '../cost/deployment.js';
import type { StepCost } from '../cost/step-cost.js';
import { SimulatorError } from '../errors.js';
import type { Accelerator } from '../hardware/accelerator.js';
import type { ModelShape } from '../model/model-shape.js';
import { tokenElements } from './gemm-inputs.js';
import { type HardwareProposal, hardwareProposals } from './proposals.js';

/** Phases of a model's life that the proposals are asked about. */
export type WhatIfPhase = 'prefill' | 'decode' | 'training';

/** What {@link whatIf} works with. */
export interface WhatIfOptions {
  readonly accelerator: Accelerator;
  readonly model: ModelShape;
  /** Pools and precision; the prefill pool stands for training too, with 20 SMs that communicate as in the report. */
  readonly deployment: Deployment;
  /** Prompt tokens of a rank in a prefill step, of prompts so long; default the pool's limit, 4,096. */
  readonly prefill?: { readonly tokens: number; readonly promptTokens: number };
  /** Sequences of a rank in a decode step and their context; default the pool's limit, 4,096. */
  readonly decode?: { readonly sequences: number; readonly contextTokens: number };
  /** Tokens of a sequence in training; default 4,096. */
  readonly trainingTokens?: number;
  /** GPU hours that 10^12 training tokens take today; default 180,000 (the report, on H800). */
  readonly gpuHoursPerTrillionTokens?: number;
  /** Default: each proposal alone, then both that need each other, then all. */
  readonly combinations?: readonly (readonly HardwareProposal[])[];
}

/** What a step costs with some of the proposals. */
export interface WhatIfStep {
  /** Between these bounds: what hides the promotion of partial sums today is not known. Equal where nothing depends on it. */
  readonly seconds: { readonly least: number; readonly most: number };
  /** Time saved as a share of today's. */
  readonly saved: { readonly least: number; readonly most: number };
  readonly sms: { readonly compute: number; readonly communication: number };
  /** Of one GPU. */
  readonly bytes: { readonly memory: number; readonly nvlink: number; readonly network: number };
}

/** The effect of a combination of proposals. */
export interface WhatIfEffect {
  readonly proposals: readonly HardwareProposal[];
  readonly title: string;
  readonly phases: Readonly<Record<WhatIfPhase, WhatIfStep>>;
  /** USD of a million generated tokens by decode GPUs, and of 10^12 training tokens. */
  readonly usd: {
    readonly perMillionDecodedTokens: { readonly least: number; readonly most: number };
    readonly perTrillionTrainingTokens: { readonly least: number; readonly most: number };
  };
}

/** Today and the effects. */
export interface WhatIfResult {
  readonly today: WhatIfEffect;
  readonly effects: readonly WhatIfEffect[];
}

const defaultCombinations: readonly (readonly HardwareProposal[])[] = [
  ['unifiedFabric'],
  ['accumulationPrecision'],
  ['scalingInMma'],
  ['accumulationPrecision', 'scalingInMma'],
  ['castInCopy'],
  ['transposedReads'],
  ['unifiedFabric', 'accumulationPrecision', 'scalingInMma', 'castInCopy', 'transposedReads'],
];

/** SMs that communicate in training (report, section 3.2.2). */
const trainingSms = 20;
/** A backward pass computes twice what a forward pass does: gradients of inputs and of weights. */
const trainingPasses = 3;
/**
 * Cycles of CUDA cores over cycles of tensor cores for a partial sum of 128 products on Hopper: 1 FMA at 128 a cycle against 128
 * products at 4,096 a cycle.
 */
const promotionShare = 1 / 128 / (128 / 4096);

/**
 * What the hardware proposals of the DeepSeek-V3 report (section 3.5) would do to step time, SMs, bytes and cost: each alone and together,
 * from the priced steps of a deployment.
 *
 * @example
 * ```ts
 * import { accelerators, deepSeekV3, publishedDeployment, whatIf } from '@moestack/simulator';
 *
 * const { effects } = whatIf({
 *   accelerator: accelerators.h800, model: deepSeekV3, deployment: publishedDeployment('profile'),
 * });
 * for (const { title, phases } of effects) console.log(title, phases.prefill.saved.most.toFixed(3));
 * ```
 */
export function whatIf(options: WhatIfOptions): WhatIfResult {
  const { combinations = defaultCombinations } = options;
  for (const proposals of combinations)
    for (const proposal of proposals)
      if (!Object.hasOwn(hardwareProposals, proposal)) throw unknownProposal(proposal);
  return {
    today: effectOf(options, []),
    effects: combinations.map((proposals) => effectOf(options, proposals)),
  };
}

function unknownProposal(proposal: string): SimulatorError {
  return new SimulatorError({
    code: 'simulator/bad-config',
    message: `unknown proposal ${proposal}`,
    value: proposal,
    remedy: `use ${Object.keys(hardwareProposals).join(', ')}`,
  });
}

function effectOf(options: WhatIfOptions, proposals: readonly HardwareProposal[]): WhatIfEffect {
  const { accelerator, model, deployment, gpuHoursPerTrillionTokens = 180_000 } = options;
  const phases = {
    prefill: stepOf(options, 'prefill', proposals),
    decode: stepOf(options, 'decode', proposals),
    training: stepOf(options, 'training', proposals),
  };
  const pool = deployment.decode;
  const { sequences } = decodeLoad(options);
  const { tokensPerStep } = createStepCostModel({ accelerator, model, deployment, role: 'decode' });
  const usdPerSecond = accelerator.usdPerGpuHour / 3600;
  const perToken = (seconds: number) =>
    ((seconds * pool.tp) / (sequences * tokensPerStep)) * usdPerSecond * 1e6;
  const training = (saved: number) => gpuHoursPerTrillionTokens * (1 - saved) * accelerator.usdPerGpuHour;
  return {
    proposals,
    title: proposals.length === 0 ? 'Today' : titleOf(proposals),
    phases,
    usd: {
      perMillionDecodedTokens: {
        least: perToken(phases.decode.seconds.least),
        most: perToken(phases.decode.seconds.most),
      },
      perTrillionTrainingTokens: {
        least: training(phases.training.saved.most),
        most: training(phases.training.saved.least),
      },
    },
  };
}

function titleOf(proposals: readonly HardwareProposal[]): string {
  if (proposals.length === Object.keys(hardwareProposals).length) return 'All of them';
  return proposals.map((proposal) => hardwareProposals[proposal].title).join(' + ');
}

function decodeLoad({ decode, deployment }: WhatIfOptions): { sequences: number; contextTokens: number } {
  const { sequences, contextTokens } = decode ?? {
    sequences: deployment.decode.maxSequencesPerRank,
    contextTokens: 4096,
  };
  return { sequences, contextTokens: sequences * contextTokens };
}

/** The step of a phase: priced anew with other SMs and scales, then corrected for memory traffic. */
function stepOf(
  options: WhatIfOptions,
  phase: WhatIfPhase,
  proposals: readonly HardwareProposal[],
): WhatIfStep {
  const has = (proposal: HardwareProposal) => proposals.includes(proposal);
  const { accelerator, deployment } = options;
  const pool = poolOf(deployment, phase);
  const before = price(options, phase, pool, 1);
  const unified = has('unifiedFabric')
    ? { ...pool, overlap: { ...pool.overlap, communicationSms: 0 } }
    : pool;
  // Blackwell's tensor cores scale blocks and accumulate in FP32 already.
  const built = accelerator.flopsPerSecond.fp4 !== null;
  const promotes =
    has('accumulationPrecision') && has('scalingInMma') && !built && deployment.precision.weights === 'fp8';
  const most = price(options, phase, unified, 1);
  const least = promotes
    ? price(options, phase, unified, 1 - promotionSaving(accelerator, before.step))
    : most;
  const saved = savedBytes(options, phase, pool, before, has);
  const seconds = saved / (accelerator.memoryBytesPerSecond * accelerator.memoryEfficiency);
  const bounds = {
    least: Math.max(0, least.step.seconds - seconds),
    most: Math.max(0, most.step.seconds - seconds),
  };
  const share = (value: number) => 1 - value / before.step.seconds;
  return {
    seconds: bounds,
    saved: { least: share(bounds.most), most: share(bounds.least) },
    sms: most.step.sms,
    bytes: { ...most.step.bytes, memory: Math.max(0, most.step.bytes.memory - saved) },
  };
}

/** The most that unhidden promotion costs: a fifth of the GEMMs, as far as arithmetic binds the step. */
function promotionSaving(accelerator: Accelerator, step: StepCost): number {
  const arithmetic = step.flops / accelerator.flopsPerSecond.fp8;
  const memory = step.bytes.memory / (accelerator.memoryBytesPerSecond * accelerator.memoryEfficiency);
  return (promotionShare / (1 + promotionShare)) * (arithmetic / Math.max(arithmetic, memory));
}

interface Priced {
  readonly step: StepCost;
  readonly tokens: number;
}

function poolOf(deployment: Deployment, phase: WhatIfPhase): Pool {
  if (phase === 'decode') return deployment.decode;
  const pool = deployment.prefill ?? deployment.decode;
  return phase === 'prefill' ? pool : { ...pool, overlap: { enabled: true, communicationSms: trainingSms } };
}

function price(options: WhatIfOptions, phase: WhatIfPhase, pool: Pool, gemms: number): Priced {
  const { accelerator, model, deployment, prefill, trainingTokens = 4096 } = options;
  const scales = { experts: gemms, sharedExperts: gemms, dense: gemms };
  if (phase === 'decode') {
    const cost = createStepCostModel({
      accelerator,
      model,
      deployment: { ...deployment, decode: pool },
      role: 'decode',
      scales,
    });
    const load = decodeLoad(options);
    return { step: cost.decodeStep(load), tokens: load.sequences };
  }
  const cost = createStepCostModel({
    accelerator,
    model,
    deployment: { ...deployment, prefill: pool },
    role: 'prefill',
    scales,
  });
  if (phase === 'training') {
    const forward = cost.prefillStep({ tokens: trainingTokens, contextTokens: 0, sequences: 1 });
    return { step: times(forward, trainingPasses), tokens: trainingTokens };
  }
  const { tokens, promptTokens } = prefill ?? { tokens: pool.maxTokensPerRank, promptTokens: 4096 };
  const step = cost.prefillStep({ tokens, contextTokens: 0, sequences: Math.max(1, tokens / promptTokens) });
  return { step, tokens };
}

function times(step: StepCost, factor: number): StepCost {
  const { memory, nvlink, network } = step.bytes;
  return {
    ...step,
    seconds: factor * step.seconds,
    bytes: { memory: factor * memory, nvlink: factor * nvlink, network: factor * network },
    flops: factor * step.flops,
  };
}

/** Memory traffic that falls away, bytes of one GPU. */
function savedBytes(
  { model, deployment }: WhatIfOptions,
  phase: WhatIfPhase,
  pool: Pool,
  { step, tokens }: Priced,
  has: (proposal: HardwareProposal) => boolean,
): number {
  const { quantised, inputs, outputs } = tokenElements(model, pool.tp);
  let bytes = 0;
  if (has('castInCopy') && deployment.precision.weights === 'fp8')
    bytes += 2 * quantised * tokens * (phase === 'training' ? trainingPasses : 1);
  if (has('transposedReads') && phase === 'training') bytes += (2 * inputs + outputs) * tokens;
  if (has('unifiedFabric') && pool.ep > 1) bytes += 2 * (step.bytes.nvlink + step.bytes.network);
  return Math.min(bytes, 0.9 * step.bytes.memory);
}
