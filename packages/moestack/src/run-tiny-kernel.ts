import { Arena, Kernels } from '@moestack/kernels';
import { CliError } from './errors.js';

const arenaBytes = 1 << 20;
const length = 16;

/**
 * Runs one SIMD kernel over a small memory, private or shared.
 *
 * @throws what the runtime throws where it cannot create the memory or compile the kernels; {@link CliError}
 * `cli/wrong-arithmetic` if the result is wrong.
 */
export function runTinyKernel(shared: boolean): void {
  const arena = Arena.create({ maximumBytes: arenaBytes, shared });
  const kernels = new Kernels(arena);
  const a = arena.f32(length).fill(1);
  const b = arena.f32(length).fill(2);
  const out = arena.f32(length);
  kernels.add(a, b, out, length);
  if (out.every((value) => value === 3)) return;
  throw new CliError({
    code: 'cli/wrong-arithmetic',
    message: `a kernel added 1 and 2 and got ${out.join(' ')}`,
    remedy: 'use another version of Node.js',
  });
}
