/**
 * A module of one function that returns `i8x16.popcnt` of a splat: it validates only where fixed-width SIMD exists.
 * A probe, not code that runs.
 */
const simdProbe = Uint8Array.of(
  0,
  97,
  115,
  109,
  1,
  0,
  0,
  0,
  1,
  5,
  1,
  96,
  0,
  1,
  123,
  3,
  2,
  1,
  0,
  10,
  10,
  1,
  8,
  0,
  65,
  0,
  253,
  15,
  253,
  98,
  11,
);

/** The two parts of the WebAssembly API that are asked; its types come with the DOM library only. */
interface WebAssemblyApi {
  validate(bytes: Uint8Array): boolean;
  readonly Memory: new (descriptor: {
    initial: number;
    maximum: number;
    shared: boolean;
  }) => { buffer: unknown };
}

const api = (globalThis as { WebAssembly?: WebAssemblyApi }).WebAssembly;

/** Whether this runtime has fixed-width WebAssembly SIMD. */
export function supportsSimd(): boolean {
  return api?.validate(simdProbe) === true;
}

/** Whether WebAssembly memory can be shared between threads. */
export function supportsThreads(): boolean {
  try {
    const memory = api && new api.Memory({ initial: 1, maximum: 1, shared: true });
    return memory?.buffer instanceof SharedArrayBuffer;
  } catch {
    return false;
  }
}
