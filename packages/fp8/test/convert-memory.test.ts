import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertCheckpoint, inspectCheckpoint } from '@moestack/fp8/node';
import { afterEach, beforeEach, expect, test } from 'vitest';

const cols = 2048;
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fp8-memory-'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** A checkpoint of one weight of zeros, as a sparse file: this process never holds its data. */
async function sparseModel(folder: string, rows: number, fp8: boolean): Promise<string> {
  const weightBytes = rows * cols * (fp8 ? 1 : 2);
  const blocks = [rows / 128, cols / 128] as const;
  const scaleBytes = fp8 ? blocks[0] * blocks[1] * 4 : 0;
  const weight = { dtype: fp8 ? 'F8_E4M3' : 'BF16', shape: [rows, cols] };
  const header: Record<string, unknown> = {
    'x_proj.weight': { ...weight, data_offsets: [scaleBytes, scaleBytes + weightBytes] },
  };
  if (fp8) {
    header['x_proj.weight_scale_inv'] = { dtype: 'F32', shape: blocks, data_offsets: [0, scaleBytes] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  await mkdir(folder);
  const handle = await open(join(folder, 'model.safetensors'), 'w');
  await handle.write(Buffer.concat([prefix, json]));
  await handle.truncate(8 + json.length + scaleBytes + weightBytes);
  await handle.close();
  return folder;
}

test.each(['bf16', 'fp8-block'] as const)(
  'memory does not grow with the tensor, to %s',
  async (target) => {
    const growth: number[] = [];
    // The first run warms up compiled code and buffers.
    for (const [i, rows] of [1024, 16_384, 65_536].entries()) {
      const from = await sparseModel(join(root, `from${i}`), rows, target === 'bf16');
      const before = process.memoryUsage().rss;
      let peak = before;
      const to = join(root, `to${i}`);
      await convertCheckpoint({
        from,
        to,
        target,
        onProgress: () => {
          peak = Math.max(peak, process.memoryUsage().rss);
        },
      });
      await rm(to, { recursive: true });
      growth.push(Math.round((peak - before) / 2 ** 20));
    }
    // 32 and 128 MiB of codes, 64 and 256 MiB of BF16, against buffers of at most 16 MiB and garbage of two pieces.
    expect(growth[1]).toBeLessThan(48);
    expect(growth[2]).toBeLessThan(48);
  },
  60_000,
);

test.each([true, false])(
  'memory does not grow with the tensor inspected (FP8: %s)',
  async (fp8) => {
    const growth: number[] = [];
    for (const [i, rows] of [1024, 4096, 16_384].entries()) {
      const from = await sparseModel(join(root, `from${i}`), rows, fp8);
      const before = process.memoryUsage().rss;
      let peak = before;
      await inspectCheckpoint(from, {
        onProgress: () => {
          peak = Math.max(peak, process.memoryUsage().rss);
        },
      });
      growth.push(Math.round((peak - before) / 2 ** 20));
    }
    // 8 and 32 MiB of codes, 16 and 64 MiB of BF16, against a million elements at a time and garbage.
    expect(growth[1]).toBeLessThan(48);
    expect(growth[2]).toBeLessThan(48);
  },
  60_000,
);
