import { gzipSync } from 'node:zlib';
import { MoestackError } from '@moestack/schemas/errors';
import { readTarball } from '../src/corpus/read-tarball.js';
import { mix } from '../src/corpus/word-stream.js';
import { parseRunLog } from '../src/report/run-log.js';

/** Outcome of {@link fuzz}. */
export interface FuzzResult {
  /** Mutated inputs tried. */
  runs: number;
  /** Inputs that ended in a MoestackError; the others were still valid. */
  rejected: number;
}

const log = [
  '{"type":"start","schemaVersion":1,"name":"a","firstStep":0,"parameters":9,"activeParameters":5,"savedBytesPerToken":1,"bf16BytesPerToken":2}',
  '{"type":"step","step":1,"tokens":8,"loss":2.5,"gradientNorm":1,"learningRate":0.1,"gamma":0.01,"maxVio":[0.5],"tokensPerSecond":9,"seconds":1}',
  '{"type":"end","step":1,"tokens":8,"loss":2.5,"reason":"complete"}\n',
].join('\n');

/** Feeds mutated package archives and run logs to their readers; throws if one ends in anything but a result or a MoestackError. */
export async function fuzz(seed: number, runs: number): Promise<FuzzResult> {
  let state = seed;
  const below = (limit: number): number => {
    state = (state + 0x9e3779b9) >>> 0;
    return mix(state) % limit;
  };
  const archive = tar();
  let rejected = 0;
  for (let run = 0; run < runs; run++) {
    const isArchive = below(2) === 0;
    const bytes = isArchive ? Buffer.from(archive) : Buffer.from(log);
    for (let edits = 1 + below(3); edits > 0; edits--) bytes[below(bytes.length)] = below(256);
    const input = below(4) === 0 ? bytes.subarray(0, below(bytes.length)) : bytes;
    try {
      if (isArchive) await readTarball(below(8) === 0 ? input : gzipSync(input, { level: 1 }));
      else parseRunLog(input.toString('utf8'));
    } catch (error) {
      if (!MoestackError.isInstance(error)) throw error;
      rejected++;
    }
  }
  return { runs, rejected };
}

/** Two files, as `npm pack` writes them. */
function tar(): Buffer {
  const blocks = ['package/package.json', 'package/texts/a.txt'].flatMap((name, index) => {
    const header = Buffer.alloc(512);
    const content = Buffer.alloc(512, 'x');
    header.write(name, 0);
    header.write((100 + index).toString(8).padStart(11, '0'), 124);
    header.write('        ', 148);
    header.write('0', 156);
    header.write('ustar', 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return [header, content];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
