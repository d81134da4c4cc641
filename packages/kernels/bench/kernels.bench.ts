import { Arena, Kernels, type WeightData, type WeightFormat } from '@moestack/kernels';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';
import { memoryCopy } from './memory-copy.js';
import { openOnnx } from './peer/onnx.js';
import { openTfjs } from './peer/tfjs.js';

const arena = Arena.create({ maximumBytes: 1 << 30 });
const kernels = new Kernels(arena);

/** Values between -1 and 1 that are no round numbers. */
function floats(length: number): Float32Array {
  const view = arena.f32(length);
  for (let i = 0; i < length; i++) view[i] = Math.sin(i * 1.37);
  return view;
}

/** Normally distributed weights, as quantisation leaves them: the largest of a block near 448. */
function weight(format: WeightFormat, rows: number, cols: number): WeightData {
  const n = rows * cols;
  if (format === 'f32')
    return { format, rows, cols, data: Float32Array.from({ length: n }, (_, i) => Math.sin(i)) };
  if (format === 'bf16') {
    return {
      format,
      rows,
      cols,
      data: Uint16Array.from({ length: n }, (_, i) => 0x3f00 + ((i * 7919) % 256)),
    };
  }
  const data = Uint8Array.from({ length: n }, (_, i) => {
    const hash = Math.imul(i + 1, 0x9e3779b1) >>> 0;
    // Codes 0x48 to 0x7e: 4 to 448 in magnitude.
    return ((hash >>> 31) << 7) | (0x48 + ((hash >>> 8) % 55));
  });
  const scales = new Float32Array(Math.ceil(rows / 128) * Math.ceil(cols / 128)).fill(0.001);
  return { format, rows, cols, data, scales };
}

function product(
  format: WeightFormat,
  rows: number,
  cols: number,
  m: number,
  unit: 'GFLOP/s' | 'Gweights/s' | 'GB/s',
): BenchCase {
  const packed = kernels.pack(weight(format, rows, cols));
  const x = floats(m * cols);
  const out = arena.f32(m * rows);
  const work =
    { 'GFLOP/s': 2 * m * rows * cols, 'Gweights/s': rows * cols, 'GB/s': packed.sizeBytes }[unit] / 1e9;
  return { name: `${format} ${m}x${rows}x${cols}`, unit, work, run: () => kernels.linear(packed, x, out, m) };
}

async function peers(name: string, m: number, n: number, k: number): Promise<BenchCase[]> {
  const a = Float32Array.from({ length: m * k }, (_, i) => Math.sin(i * 1.37));
  const b = Float32Array.from({ length: n * k }, (_, i) => Math.sin(i));
  const work = (2 * m * n * k) / 1e9;
  const cases: BenchCase[] = [];
  const tfjs = (await openTfjs())?.(a, b, { m, n, k });
  if (tfjs !== undefined) cases.push({ name: `tfjs-backend-wasm ${name}`, unit: 'GFLOP/s', work, run: tfjs });
  const onnx = await (await openOnnx())?.(a, b, { m, n, k });
  if (onnx !== undefined) cases.push({ name: `onnxruntime-node ${name}`, unit: 'GFLOP/s', work, run: onnx });
  return cases;
}

async function gemmGroup(): Promise<BenchGroup> {
  const [a, b, out] = [floats(512 * 512), floats(512 * 512), arena.f32(512 * 512)];
  const shape = { m: 512, n: 512, k: 512 };
  const own = {
    name: 'gemm 512',
    unit: 'GFLOP/s',
    work: (2 * 512 ** 3) / 1e9,
    run: () => kernels.gemm(a, b, out, shape),
  };
  return {
    name: 'f32 GEMM 512 x 512 x 512',
    cases: [own, ...(await peers('512', 512, 512, 512))],
    rounds: 25,
    ratios: [
      {
        name: 'GEMM 512 to tfjs-backend-wasm',
        numerator: own.name,
        denominator: 'tfjs-backend-wasm 512',
        aim: 1.2,
      },
      {
        name: 'GEMM 512 to onnxruntime-node (native, 1 thread)',
        numerator: own.name,
        denominator: 'onnxruntime-node 512',
      },
    ],
  };
}

async function smallBatchGroup(): Promise<BenchGroup> {
  const own = product('f32', 1024, 1024, 8, 'GFLOP/s');
  return {
    name: 'M = 8 with prepacked weights',
    cases: [own, ...(await peers('8x1024x1024', 8, 1024, 1024))],
    rounds: 25,
    ratios: [
      {
        name: 'M = 8 to tfjs-backend-wasm',
        numerator: own.name,
        denominator: 'tfjs-backend-wasm 8x1024x1024',
        aim: 1,
      },
      { name: 'M = 8 to onnxruntime-node', numerator: own.name, denominator: 'onnxruntime-node 8x1024x1024' },
    ],
  };
}

function gemvGroup(): BenchGroup {
  const own = product('f32', 4096, 4096, 1, 'GB/s');
  const bytes = 1 << 26;
  const copy = memoryCopy(bytes);
  return {
    name: 'f32 GEMV on 64 MiB',
    cases: [own, { name: 'wasm memory.copy 64 MiB', unit: 'GB/s', work: bytes / 1e9, run: copy }],
    ratios: [
      { name: 'GEMV to memory.copy', numerator: own.name, denominator: 'wasm memory.copy 64 MiB', aim: 1.1 },
    ],
  };
}

function attentionCase(contextLength: number): BenchCase {
  const [heads, rank, ropeDims, blockSize] = [8, 256, 32, 16];
  const blocks = contextLength / blockSize;
  const cache = floats(contextLength * (rank + ropeDims));
  const q = floats(heads * (rank + ropeDims));
  const out = arena.f32(heads * rank);
  const table = arena.i32(blocks);
  for (let i = 0; i < blocks; i++) table[i] = blocks - 1 - i;
  const shape = { heads, rank, ropeDims, contextLength, blockSize, scale: 0.05 };
  return {
    name: `latent attention, 8 heads, ${contextLength} tokens`,
    unit: 'GFLOP/s',
    work: (2 * heads * contextLength * (2 * rank + ropeDims)) / 1e9,
    run: () => kernels.latentAttention(q, cache, table, out, shape),
  };
}

export default defineBench({
  name: 'kernels',
  notes: [
    'one thread; tfjs and onnxruntime get b as [k, n], their output is not copied out',
    'm x rows x cols; FP8 weights are normal numbers only, as quantised weights nearly always are: subnormal codes cost more',
  ],
  groups: async () => [
    await gemmGroup(),
    await smallBatchGroup(),
    gemvGroup(),
    {
      name: 'weights on the fly, one row',
      cases: [
        product('e4m3fn', 1024, 1024, 1, 'Gweights/s'),
        product('e4m3fn', 4096, 4096, 1, 'Gweights/s'),
        product('e4m3fn', 16384, 8192, 1, 'Gweights/s'),
        product('bf16', 1024, 1024, 1, 'Gweights/s'),
        product('bf16', 4096, 4096, 1, 'Gweights/s'),
      ],
    },
    {
      name: 'FP8 weights by rows',
      cases: [2, 4, 8, 16, 64, 256].map((m) => product('e4m3fn', 512, 1024, m, 'GFLOP/s')),
    },
    { name: 'latent attention by context', cases: [256, 1024, 4096].map(attentionCase) },
  ],
});
