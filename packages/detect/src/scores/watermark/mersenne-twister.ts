const N = 624;
const M = 397;

/** MT19937, the generator of torch on a CPU; torch seeds it with the low 32 bits of its seed. */
export class MersenneTwister {
  readonly #state: Uint32Array = new Uint32Array(N);
  #index: number = N;

  /** Restarts the sequence from a 32-bit seed. */
  seed(seed: number): void {
    const state = this.#state;
    state[0] = seed >>> 0;
    for (let i = 1; i < N; i++) {
      const previous = state[i - 1]! ^ (state[i - 1]! >>> 30);
      state[i] = (Math.imul(previous, 1812433253) + i) >>> 0;
    }
    this.#index = N;
  }

  /** A uniform integer below 2^32. */
  next(): number {
    if (this.#index === N) this.#refill();
    let y = this.#state[this.#index++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  }

  #refill(): void {
    const state = this.#state;
    for (let i = 0; i < N; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % N]! & 0x7fffffff);
      state[i] = state[(i + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#index = 0;
  }
}

/**
 * The first `count` entries of `torch.randperm(length)` on a CPU: for i from 0, swap entry i with entry i + random % (length - i).
 * Entry i is final after step i, so that a green list needs only its own share of the steps.
 */
export function randomPermutation(generator: MersenneTwister, length: number, count: number): Int32Array {
  const entries = new Int32Array(length);
  for (let i = 0; i < length; i++) entries[i] = i;
  const steps = Math.min(count, length - 1);
  for (let i = 0; i < steps; i++) {
    const other = i + (generator.next() % (length - i));
    const entry = entries[i]!;
    entries[i] = entries[other]!;
    entries[other] = entry;
  }
  return entries.subarray(0, count);
}
