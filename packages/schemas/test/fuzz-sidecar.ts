import { MoestackError } from '../src/errors.js';
import { decodeSidecar, encodeSidecar } from '../src/sidecar.js';

/** Outcome of {@link fuzz}. */
export interface FuzzResult {
  /** Mutated inputs tried. */
  runs: number;
  /** Inputs that ended in a MoestackError; the others were still valid. */
  rejected: number;
}

const HOSTILE = [
  '-1',
  '1e9',
  '0.5',
  '9007199254740993',
  'null',
  '[]',
  '"1"',
  '{',
  '}',
  '"',
  '__proto__',
  'constructor',
  'F32',
  'U8',
  'shape',
  '[['.repeat(200),
];

/** Feeds mutated sidecars to the reader; throws if one ends in anything but arrays or a MoestackError. */
export function fuzz(seed: number, runs: number): FuzzResult {
  const below = generator(seed);
  const valid = encodeSidecar({
    'a.indices': { shape: [2, 3], data: Int32Array.of(1, 2, 3, 4, 5, 6) },
    'a.weights': { shape: [6], data: new Float32Array(6) },
    codes: { shape: [5], data: new Uint8Array(5) },
    wide: { shape: [1], data: new Float64Array(1) },
  });
  let rejected = 0;
  for (let run = 0; run < runs; run++) {
    const bytes = mutate(valid, below);
    try {
      decodeSidecar(bytes);
    } catch (error) {
      if (!MoestackError.isInstance(error)) throw error;
      rejected++;
    }
  }
  return { runs, rejected };
}

function mutate(valid: Uint8Array, below: (limit: number) => number): Uint8Array {
  const headerLength = Number(new DataView(valid.buffer).getBigUint64(0, true));
  let header = new TextDecoder().decode(valid.subarray(8, 8 + headerLength));
  switch (below(5)) {
    case 0: {
      const bytes = valid.slice();
      for (let edits = 1 + below(4); edits > 0; edits--) bytes[below(bytes.length)] = below(256);
      return bytes;
    }
    case 1:
      return valid.slice(0, below(valid.length));
    case 2:
      header = header.replace(/\d+/g, (digits) => (below(4) === 0 ? HOSTILE[below(7)]! : digits));
      break;
    case 3: {
      const at = below(header.length);
      header = header.slice(0, at) + HOSTILE[below(HOSTILE.length)] + header.slice(at + below(8));
      break;
    }
    default: {
      const at = below(header.length);
      header = header.slice(0, at) + header.slice(at + 1 + below(8));
    }
  }
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + valid.length - 8 - headerLength);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(valid.subarray(8 + headerLength), 8 + json.length);
  return bytes;
}

/** Seeded whole numbers below a limit (mulberry32). */
function generator(seed: number): (limit: number) => number {
  let state = seed | 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4_294_967_296) * limit);
  };
}
