import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { serializeSafetensors } from '@moestack/fp8';
import { type ConversionTarget, convertCheckpoint } from '@moestack/fp8/node';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';

const COLS = 4096;
const CHUNK_BYTES = 2 ** 22;

const root = mkdtempSync(join(tmpdir(), 'moestack-bench-conversion-'));
process.once('exit', () => rmSync(root, { recursive: true, force: true }));

/** A block-scaled FP8 weight of finite codes, of which few are subnormal. */
function writeFp8(folder: string, megabytes: number): void {
  const rows = (megabytes * 2 ** 20) / COLS;
  const codes = new Uint8Array(rows * COLS);
  const words = new Uint32Array(codes.buffer);
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    words[i] = (state ^ (state >>> 15)) & 0xbfbfbfbf;
  }
  const scales = Float32Array.from({ length: (rows / 128) * (COLS / 128) }, (_, i) => 1e-4 * (1 + (i % 7)));
  mkdirSync(folder);
  const file = serializeSafetensors([
    { name: 'x_proj.weight', dtype: 'F8_E4M3', shape: [rows, COLS], data: codes },
    { name: 'x_proj.weight_scale_inv', dtype: 'F32', shape: [rows / 128, COLS / 128], data: scales },
  ]);
  writeFileSync(join(folder, 'model.safetensors'), file);
  writeFileSync(join(folder, 'config.json'), '{"quantization_config":{"quant_method":"fp8"}}');
}

/** Reads a file as a stream and writes `factor` times its bytes, on the disk in the end as a conversion's are. */
async function streamJob(from: string, to: string, factor: number): Promise<void> {
  const scale = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (factor < 1) this.push(chunk.subarray(0, chunk.length * factor));
      for (let copy = 1; copy <= factor; copy++) this.push(chunk);
      done();
    },
  });
  const options = { highWaterMark: CHUNK_BYTES };
  await pipeline(createReadStream(from, options), scale, createWriteStream(to, options));
  const handle = await open(to, 'r+');
  await handle.sync();
  await handle.close();
  await rm(to);
}

async function group(megabytes: number, target: ConversionTarget): Promise<BenchGroup> {
  const label = `${megabytes} MiB FP8 ${target === 'fp8-block' ? 'from bf16' : `to ${target}`}`;
  const fp8 = join(root, `fp8-${megabytes}`);
  if (statSync(fp8, { throwIfNoEntry: false }) === undefined) writeFp8(fp8, megabytes);
  let from = fp8;
  if (target === 'fp8-block') {
    from = join(root, `bf16-${megabytes}`);
    await convertCheckpoint({ from: fp8, to: from, target: 'bf16' });
  }
  const to = join(root, 'to');
  const factor = target === 'fp8-block' ? 0.5 : target === 'f32' ? 4 : 2;
  const file = join(from, 'model.safetensors');
  const work = (statSync(file).size * (1 + factor)) / 1e6;
  const item = (name: string, run: () => Promise<void>): BenchCase => ({ name, unit: 'MB/s', work, run });
  return {
    name: label,
    rounds: 9,
    cases: [
      item(`stream job, ${label}`, () => streamJob(file, join(root, 'stream'), factor)),
      item(`convert, ${label}`, async () => {
        await convertCheckpoint({ from, to, target });
        await rm(to, { recursive: true });
      }),
    ],
    ratios: [
      {
        name: `convert / stream job, ${label}`,
        numerator: `convert, ${label}`,
        denominator: `stream job, ${label}`,
        aim: 0.67,
      },
    ],
  };
}

export default defineBench({
  name: 'conversion',
  notes: [
    'read and written bytes together; one weight of 4096 columns in 128x128 blocks; files in the page cache, results synced to disk',
  ],
  groups: async () => [
    await group(16, 'bf16'),
    await group(32, 'bf16'),
    await group(64, 'bf16'),
    await group(32, 'f32'),
    await group(32, 'fp8-block'),
  ],
});
