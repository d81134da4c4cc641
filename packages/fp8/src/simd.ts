import { Arena, Fp8Kernels, KernelsError } from '@moestack/kernels';

/** Room for the chunks that the kernels stage; pages are committed when first written. */
const ARENA_BYTES = 64 << 20;

let kernels: Fp8Kernels | undefined;
let isRefused = false;

/**
 * The SIMD kernels of this thread, made on first use; undefined where the engine cannot run them or has no memory for
 * them, and callers take their scalar path, which gives the same bits.
 */
export function simdKernels(): Fp8Kernels | undefined {
  if (kernels !== undefined || isRefused) return kernels;
  try {
    kernels = new Fp8Kernels(Arena.create({ maximumBytes: ARENA_BYTES }));
  } catch (error) {
    if (!KernelsError.isInstance(error)) throw error;
    isRefused = true;
  }
  return kernels;
}
