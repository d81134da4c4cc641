import { MoestackError } from '@moestack/schemas/errors';
import { createRandom } from '../src/random.js';
import { type CapturedTrace, decodeRoutingTrace, encodeRoutingTrace } from '../src/trace/index.js';

/** Outcome of {@link fuzz}. */
export interface FuzzResult {
  /** Mutated inputs tried. */
  runs: number;
  /** Inputs that ended in a MoestackError; the others were still valid. */
  rejected: number;
}

const HOSTILE = [
  '-1',
  '0',
  '1e9',
  '0.5',
  '9007199254740993',
  'null',
  '[]',
  '"1"',
  '{',
  '}',
  '"',
  '\\u0000',
  '__proto__',
  'AAA',
  '=',
];

/** Feeds mutated trace files to the reader; throws if one ends in anything but a trace or a MoestackError. */
export async function fuzz(seed: number, runs: number): Promise<FuzzResult> {
  const random = createRandom(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const trace: CapturedTrace = {
    experts: 8,
    topK: 2,
    dropped: 0,
    model: 'fuzz',
    records: [0, 1, 2].map((step) => ({
      step,
      layer: step % 2,
      tokens: 3,
      indices: Int32Array.from({ length: 6 }, () => below(9) - 1),
      weights: Float32Array.from({ length: 6 }, random),
    })),
  };
  const files = [
    await encodeRoutingTrace(trace),
    await encodeRoutingTrace(trace, { sidecar: 'trace.safetensors' }),
  ];
  let rejected = 0;
  for (let run = 0; run < runs; run++) {
    const file = files[below(2)]!;
    let { json } = file;
    const sidecar = file.sidecar?.slice();
    for (let edits = 1 + below(3); edits > 0; edits--) {
      if (sidecar !== undefined && below(3) === 0) sidecar[below(sidecar.length)] = below(256);
      else json = mutate(json, below);
    }
    try {
      await decodeRoutingTrace(json, sidecar);
    } catch (error) {
      if (!MoestackError.isInstance(error)) throw error;
      rejected++;
    }
  }
  return { runs, rejected };
}

function mutate(text: string, below: (limit: number) => number): string {
  const at = below(text.length);
  const length = below(8);
  switch (below(4)) {
    case 0:
      return text.slice(0, at) + text.slice(at + length);
    case 1:
      return text.slice(0, at) + HOSTILE[below(HOSTILE.length)] + text.slice(at + length);
    case 2:
      return text.replace(/\d+/g, (digits) => (below(6) === 0 ? HOSTILE[below(6)]! : digits));
    default:
      return text.slice(0, at) + text.slice(below(text.length));
  }
}
