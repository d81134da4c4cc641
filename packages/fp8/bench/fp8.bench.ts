import {
  type Architecture,
  decode,
  decodeTable,
  encode,
  Fp8Linear,
  matmul,
  quantize,
  recipe,
  type Scheme,
} from '@moestack/fp8';
import { Arena, Kernels } from '@moestack/kernels';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';
import { openOnnxCast } from './peer/onnx-cast.js';
import { bitTrickEncode, bitTrickQuantize, plainGemm, tableDecode } from './peer/scalar.js';

const ELEMENTS = 2 ** 22;
const COLUMNS = 4096;

/** Normally distributed numbers, seeded. */
function normal(length: number, seed: number, deviation = 1): Float32Array {
  let state = seed;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length },
    () => deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

function elements(name: string, count: number, run: () => unknown): BenchCase {
  return { name, unit: 'Melem/s', work: count / 1e6, run };
}

/** Conversions of one size beside the loops of plain JavaScript. */
async function codecs(): Promise<BenchGroup> {
  const values = normal(ELEMENTS, 1);
  const words = new Uint32Array(values.buffer);
  const codes = encode('e4m3fn', values) as Uint8Array;
  const back = new Float32Array(ELEMENTS);
  const out = new Uint8Array(ELEMENTS);
  const scales = new Float32Array(ELEMENTS / 128);
  const table = decodeTable('e4m3fn');
  const shape: [number, number] = [ELEMENTS / COLUMNS, COLUMNS];
  const onnx = await openOnnxCast(values);
  const item = (name: string, run: () => unknown): BenchCase => elements(name, ELEMENTS, run);
  const cases = [
    item('table loop', () => tableDecode(codes, table, back)),
    item('decode e4m3fn', () => decode('e4m3fn', codes, { out: back })),
    item('bit-trick encode loop', () => bitTrickEncode(values, words, out)),
    item('encode e4m3fn', () => encode('e4m3fn', values, { out })),
    item('bit-trick 1x128 loop', () => bitTrickQuantize(values, out, scales)),
    ...(
      [
        ['1x128', { kind: 'tile' }],
        ['128x128', { kind: 'tile', tile: [128, 128] }],
        ['128x1', { kind: 'tile', tile: [128, 1] }],
        ['MX 1x32', { kind: 'mx', format: 'e4m3fn', rule: 'ceil' }],
      ] as [string, Scheme][]
    ).map(([name, scheme]) => {
      const into = quantize(values, shape, scheme);
      return item(`quantize ${name}`, () => quantize(values, shape, scheme, { out: into }));
    }),
    item('encode and decode', () => decode('e4m3fn', encode('e4m3fn', values, { out }), { out: back })),
  ];
  if (onnx !== undefined) cases.push(item('onnxruntime-node casts', onnx));
  const ratio = (numerator: string, denominator: string, aim: number) => ({
    name: `${numerator} / ${denominator}`,
    numerator,
    denominator,
    aim,
  });
  return {
    name: 'conversions, 4 Mi elements',
    cases,
    ratios: [
      ratio('decode e4m3fn', 'table loop', 1),
      ratio('encode e4m3fn', 'bit-trick encode loop', 3.5),
      ratio('quantize 1x128', 'bit-trick 1x128 loop', 7),
      ratio('encode and decode', 'onnxruntime-node casts', 6),
    ],
  };
}

/** The same work at three sizes: rates stay where time grows as the work does. */
function growth(): BenchGroup {
  const sizes = [20, 22, 24].map((power) => 2 ** power);
  const cases = sizes.flatMap((count) => {
    const values = normal(count, 4);
    const out = new Uint8Array(count);
    const shape: [number, number] = [count / COLUMNS, COLUMNS];
    const into = quantize(values, shape, { kind: 'tile' });
    return [
      elements(`encode of ${count}`, count, () => encode('e4m3fn', values, { out })),
      elements(`quantize of ${count}`, count, () => quantize(values, shape, { kind: 'tile' }, { out: into })),
    ];
  });
  return {
    name: 'growth',
    cases,
    ratios: ['encode', 'quantize'].map((name) => ({
      name: `${name}, rate at 16 Mi / at 1 Mi`,
      numerator: `${name} of ${sizes[2]}`,
      denominator: `${name} of ${sizes[0]}`,
    })),
  };
}

/** Products of [m, k] x [n, k] with 1x128 and 128x128 scales. */
function gemm(m: number, n: number, k: number): BenchGroup {
  const [x, w] = [normal(m * k, 2), normal(n * k, 3)];
  const a = quantize(x, [m, k], { kind: 'tile' });
  const b = quantize(w, [n, k], { kind: 'tile', tile: [128, 128] });
  const out = new Float32Array(m * n);
  const size = `${m}x${n}x${k}`;
  const item = (name: string, run: () => unknown): BenchCase => ({
    name: `${name} ${size}`,
    unit: 'MMAC/s',
    work: (m * n * k) / 1e6,
    run,
  });
  const product = (accumulate: 'f32' | Architecture): Float32Array => matmul(a, b, { accumulate, out });
  const modes = ['f32', 'hopper', 'ada', 'blackwell'] as const;
  return {
    name: `products ${size}`,
    rounds: 9,
    cases: [
      item('plain f32 loop', () => plainGemm(x, w, out, [m, n, k])),
      ...modes.map((mode) => item(`matmul ${mode}`, () => product(mode))),
    ],
    ratios: modes.map((mode) => ({
      name: `matmul ${mode} / plain f32 loop ${size}`,
      numerator: `matmul ${mode} ${size}`,
      denominator: `plain f32 loop ${size}`,
      aim: 1,
    })),
  };
}

/** Forward and backward of a linear layer, quantisation included, beside the float32 GEMM of the kernels. */
function layers(): BenchGroup {
  const [m, n, k] = [1024, 512, 1024];
  const [x, w, dy] = [normal(m * k, 5), normal(n * k, 6, 0.02), normal(m * n, 7, 1e-5)];
  const kernels = new Kernels(Arena.create({ maximumBytes: 64 << 20 }));
  const { arena } = kernels;
  const [a, b, c] = [arena.f32(m * k), arena.f32(n * k), arena.f32(m * n)];
  a.set(x);
  b.set(w);
  const work = (2 * m * n * k) / 1e9;
  const gemmCase: BenchCase = {
    name: 'kernels.gemm f32',
    unit: 'GFLOP/s',
    work,
    run: () => kernels.gemm(a, b, c, { m, n, k }),
  };
  const used = [
    ...(['deepseek-v3', 'hybrid', 'delayed', 'current', 'mxfp8', 'bf16', 'f32'] as const).map(
      (name) => [name, recipe(name)] as const,
    ),
    ['deepseek-v3 afterAttention', recipe('deepseek-v3', { role: 'afterAttention' })],
    ['deepseek-v3 as Hopper', recipe('deepseek-v3', { accumulate: 'hopper' })],
  ] as const;
  const cases = used.map(([name, one]): BenchCase => {
    const layer = new Fp8Linear({ inFeatures: k, outFeatures: n, recipe: one });
    const y = new Float32Array(m * n);
    const gradients = { inputGradient: new Float32Array(m * k), weightGradient: new Float32Array(n * k) };
    return {
      name: `layer ${name}`,
      unit: 'GFLOP/s',
      work: work * 3,
      run: () => {
        layer.step();
        layer.forward(x, w, { out: y });
        layer.backward(dy, gradients);
      },
    };
  });
  return {
    name: `linear layer, ${m} tokens, ${k} to ${n}, three products`,
    rounds: 9,
    cases: [gemmCase, ...cases],
    ratios: cases.map(({ name }) => ({
      name: `${name} / kernels.gemm f32`,
      numerator: name,
      denominator: gemmCase.name,
      ...(name === 'layer deepseek-v3' ? { aim: 0.35 } : {}),
    })),
  };
}

export default defineBench({
  name: 'fp8',
  notes: [
    'one thread; operands lie outside the memory of the kernels: copies in and out are part of the times',
    'layers quantise the weight anew every time, as in a training step with one micro-batch',
    'onnxruntime-node casts to E4M3 and back in one graph, since codes cannot leave it',
  ],
  groups: async () => [
    await codecs(),
    growth(),
    gemm(64, 128, 1024),
    gemm(128, 128, 2048),
    gemm(128, 256, 4096),
    layers(),
  ],
});
