import { Bf16Kernels } from '@moestack/kernels';
import { simdKernels } from './simd.js';

let kernels: Bf16Kernels | undefined;

/** Kernels for BF16 operands, made on first use over the memory of the others; undefined where there are none. */
export function bf16Kernels(): Bf16Kernels | undefined {
  const shared = simdKernels();
  if (shared === undefined) return undefined;
  kernels ??= new Bf16Kernels(shared.arena);
  return kernels;
}
