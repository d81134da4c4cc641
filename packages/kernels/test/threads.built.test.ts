import { once } from 'node:events';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Arena } from '@moestack/kernels';
import { describe, expect, it } from 'vitest';

const entry = pathToFileURL(createRequire(import.meta.url).resolve('@moestack/kernels')).href;

// Runs in the worker: attaches to the memory it is given and computes in place.
const script = `
  import { parentPort, workerData } from 'node:worker_threads';
  const { Arena, Kernels } = await import(workerData.entry);
  const arena = Arena.attach(workerData.x.memory);
  const scratch = arena.view(workerData.scratch, 'u8');
  const kernels = new Kernels(arena, { scratch });
  const x = arena.view(workerData.x, 'f32');
  const out = arena.view(workerData.out, 'f32');
  kernels.gemm(x, x, out, { m: 16, n: 16, k: 16 });
  kernels.addScaled(x, 2, out, 256);
  parentPort.postMessage('done');
`;

describe('shared memory', () => {
  it('lets a worker attach by handle and run kernels in place', async () => {
    const arena = Arena.create({ maximumBytes: 1 << 20, shared: true });
    const scratch = arena.u8(1 << 18);
    const x = arena.f32(256);
    for (let i = 0; i < 16; i++) x[i * 17] = i + 1;
    const out = arena.f32(256);
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), {
      execArgv: [],
      workerData: { entry, x: arena.handle(x), out: arena.handle(out), scratch: arena.handle(scratch) },
    });
    const [message] = (await Promise.race([once(worker, 'message'), once(worker, 'error')])) as unknown[];
    await worker.terminate();
    expect(message).toBe('done');
    // A diagonal matrix times itself, plus twice itself.
    for (let i = 0; i < 256; i++) {
      const d = i % 17 === 0 ? i / 17 + 1 : 0;
      expect(out[i]).toBe(d * d + 2 * d);
    }
  });
});
