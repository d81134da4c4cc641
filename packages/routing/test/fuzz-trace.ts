import { type FuzzResult, fuzzed, mutateText } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import { createRandom } from '../src/random.js';
import { type CapturedTrace, decodeRoutingTrace, encodeRoutingTrace } from '../src/trace/trace-files.js';

/** Feeds mutated trace files to the reader; throws if one ends in anything but a trace or a MoestackError. */
export async function fuzz(seed: number, runs: number): Promise<FuzzResult> {
  const random = createRandom(seed);
  const trace: CapturedTrace = {
    experts: 8,
    topK: 2,
    dropped: 0,
    model: 'fuzz',
    records: [0, 1, 2].map((step) => ({
      step,
      layer: step % 2,
      tokens: 3,
      indices: Int32Array.from({ length: 6 }, () => Math.floor(random() * 9) - 1),
      weights: Float32Array.from({ length: 6 }, random),
    })),
  };
  const files = [
    await encodeRoutingTrace(trace),
    await encodeRoutingTrace(trace, { sidecar: 'trace.safetensors' }),
  ];
  return fuzzed(seed, runs, MoestackError.isInstance, async (below) => {
    const file = files[below(2)]!;
    let { json } = file;
    const sidecar = file.sidecar?.slice();
    if (sidecar !== undefined && below(3) === 0) sidecar[below(sidecar.length)] = below(256);
    else json = mutateText(json, below);
    await decodeRoutingTrace(json, sidecar);
  });
}
