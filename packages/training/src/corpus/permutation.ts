import { mix } from './word-stream.js';

/** The numbers below `size` in an order that the seed and the epoch fix (Fisher and Yates). */
export function permutation(size: number, seed: number, epoch: number): Uint32Array {
  const order = new Uint32Array(size);
  for (let i = 0; i < size; i++) order[i] = i;
  let state = mix(mix(seed) ^ Math.imul(epoch + 1, 0x9e3779b1));
  for (let i = size - 1; i > 0; i--) {
    // Counter through a mixing function, as splitmix does; the modulo favours no number by more than size / 2^32.
    state = (state + 0x9e3779b9) >>> 0;
    const j = mix(state) % (i + 1);
    const swapped = order[i]!;
    order[i] = order[j]!;
    order[j] = swapped;
  }
  return order;
}
