import type { Accelerator } from '../hardware/accelerator.js';
import type { ModelShape } from '../model/model-shape.js';
import type { Mtp, Pool, Precision } from './deployment.js';
import type { StepPart } from './step-cost.js';

/** What a step's price depends on besides its load. */
export interface StepSetting {
  readonly accelerator: Accelerator;
  readonly model: ModelShape;
  readonly pool: Pool;
  readonly role: 'prefill' | 'decode';
  readonly precision: Precision;
  readonly mtp: Mtp;
  /** Load of the busiest GPU's experts over the mean, at least 1. */
  readonly imbalance: number;
  /** Factors on parts before overlap: what changed hardware or kernels would do. */
  readonly scales?: Partial<Readonly<Record<StepPart, number>>>;
}

/** Share of the SMs that saturates device memory; below it, bandwidth falls with them. */
export const SATURATING_SM_SHARE = 0.6;

/** How much slower work becomes on `sms` of all SMs: operations in proportion, memory only below saturation. */
export function smSlowdown(accelerator: Accelerator, sms: number): { operations: number; memory: number } {
  const share = sms / accelerator.sms;
  return { operations: 1 / share, memory: Math.max(1, SATURATING_SM_SHARE / share) };
}

/** Bytes of a stored number, scales of blocks included. */
export function storedBytes(format: 'bf16' | 'fp8' | 'fp4'): number {
  return format === 'bf16' ? 2 : format === 'fp8' ? 1 + 4 / 16_384 : 0.5 + 1 / 16;
}

/** Dense peak for a format; FP4 on hardware without it runs as FP8. */
export function peakFlops(accelerator: Accelerator, format: 'bf16' | 'fp8' | 'fp4'): number {
  const { bf16, fp8, fp4 } = accelerator.flopsPerSecond;
  return format === 'bf16' ? bf16 : format === 'fp8' ? fp8 : (fp4 ?? fp8);
}

/** Share of the peak that large dense GEMMs reach; the measured MLA and expert kernels lie between 0.4 and 0.65. */
const GEMM_EFFICIENCY = 0.6;
const KERNEL_SECONDS = 4e-6;

/** Roofline of a dense GEMM [tokens, inputs] x [inputs, outputs] on some of the SMs. */
export function gemmSeconds(
  accelerator: Accelerator,
  format: 'bf16' | 'fp8' | 'fp4',
  sizes: { tokens: number; inputs: number; outputs: number },
  sms = accelerator.sms,
): number {
  const { tokens, inputs, outputs } = sizes;
  const slower = smSlowdown(accelerator, sms);
  const operations =
    (2 * tokens * inputs * outputs * slower.operations) / (peakFlops(accelerator, format) * GEMM_EFFICIENCY);
  const bytes = inputs * outputs * storedBytes(format) + tokens * (inputs + outputs) * 2;
  const memory = (bytes * slower.memory) / (accelerator.memoryBytesPerSecond * accelerator.memoryEfficiency);
  return KERNEL_SECONDS + Math.max(operations, memory);
}
