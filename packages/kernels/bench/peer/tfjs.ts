/** `[m, k]` times `[n, k]` transposed through @tensorflow/tfjs-backend-wasm, one thread. */
export type PeerProduct = (
  a: Float32Array,
  b: Float32Array,
  shape: { m: number; n: number; k: number },
) => () => unknown;

/** The peer, or undefined where it is not installed. */
export async function openTfjs(): Promise<PeerProduct | undefined> {
  try {
    const tf = await import('@tensorflow/tfjs-core');
    await import('@tensorflow/tfjs-backend-wasm');
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
    await tf.setBackend('wasm');
    await tf.ready();
    return (a, b, { m, n, k }) => {
      const left = tf.tensor2d(a, [m, k]);
      // [k, n] as XNNPACK wants it, so that it has no transposition to do.
      const columns = new Float32Array(n * k);
      for (let i = 0; i < n; i++) for (let j = 0; j < k; j++) columns[j * n + i] = b[i * k + j]!;
      const right = tf.tensor2d(columns, [k, n]);
      return () => tf.matMul(left, right).dispose();
    };
  } catch {
    return undefined;
  }
}
