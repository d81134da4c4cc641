import type { WidenExports } from './bf16-kernels.js';
import { KernelsError } from './errors.js';
import type { Fp8Exports } from './fp8-exports.js';
import { privateMemoryBinary, sharedMemoryBinary } from './kernels.wasm.js';
import type { LogitStatsExports } from './logit-stats-kernels.js';
import type { TrainingExports } from './training-exports.js';
import { type WasmMemory, type WasmModule, webAssembly } from './web-assembly.js';

/** Exports of the binary; addresses and strides in bytes. See `assembly/` for what each argument means. */
export interface KernelExports extends Fp8Exports, LogitStatsExports, TrainingExports, WidenExports {
  add(x: number, y: number, out: number, n: number): void;
  addRowBf16(row: number, sum: number, n: number): void;
  addScaled(x: number, scale: number, out: number, n: number): void;
  addScaledRow(row: number, weight: number, sum: number, n: number): void;
  addScaledRowBf16(row: number, weight: number, sum: number, n: number): void;
  anyE4m3Nan(p: number, n: number): number;
  causalAttention(
    q: number,
    k: number,
    v: number,
    out: number,
    m: number,
    heads: number,
    qkDims: number,
    vDims: number,
    start: number,
    scale: number,
    qStride: number,
    kStride: number,
    vStride: number,
    outStride: number,
    qHead: number,
    kHead: number,
    vHead: number,
    outHead: number,
    scratch: number,
  ): void;
  causalScratchBytes(qkDims: number, vDims: number, length: number): number;
  copyBytes(from: number, to: number, bytes: number): void;
  exp64(x: number, out: number, n: number, table: number): void;
  gate(
    logits: number,
    bias: number,
    table: number,
    tokens: number,
    experts: number,
    groups: number,
    keep: number,
    topK: number,
    softmax: number,
    terms: number,
    normalize: number,
    scale: number,
    indices: number,
    weights: number,
    chosen: number,
    counts: number,
    scratch: number,
  ): void;
  gateScratchBytes(experts: number, groups: number, keep: number, topK: number): number;
  latentAttention(
    q: number,
    cache: number,
    table: number,
    out: number,
    heads: number,
    rank: number,
    ropeDims: number,
    contextLength: number,
    blockSize: number,
    scale: number,
    scratch: number,
  ): void;
  latentScratchBytes(rank: number, ropeDims: number, contextLength: number): number;
  linear(
    format: number,
    layout: number,
    w: number,
    stride: number,
    rows: number,
    k: number,
    scales: number,
    scaleStride: number,
    phase: number,
    x: number,
    xStride: number,
    m: number,
    out: number,
    outStride: number,
    accumulate: number,
    mode: number,
    scratch: number,
  ): void;
  linearScratchBytes(m: number, k: number, quantized: number): number;
  linearTransposed(
    format: number,
    w: number,
    stride: number,
    rows: number,
    k: number,
    scales: number,
    scaleStride: number,
    phase: number,
    x: number,
    xStride: number,
    m: number,
    out: number,
    outStride: number,
    accumulate: number,
    scratch: number,
  ): void;
  packBf16(x: number, out: number, n: number): void;
  packPanels(
    format: number,
    src: number,
    stride: number,
    rows: number,
    k: number,
    dst: number,
    panelStride: number,
  ): void;
  quantizeActivations(
    x: number,
    xStride: number,
    codes: number,
    scales: number,
    m: number,
    k: number,
    powerOfTwo: number,
  ): void;
  reduce(dtype: number, op: number, a: number, b: number, out: number, bytes: number): void;
  rmsNorm(
    x: number,
    xStride: number,
    gain: number,
    out: number,
    outStride: number,
    rows: number,
    cols: number,
    epsilon: number,
  ): void;
  rope(
    x: number,
    table: number,
    positions: number,
    rows: number,
    heads: number,
    dims: number,
    rowStride: number,
    headStride: number,
  ): void;
  sigmoid(x: number, out: number, n: number): void;
  silu(x: number, out: number, n: number): void;
  siluMul(gate: number, up: number, out: number, n: number): void;
  softmax(x: number, stride: number, rows: number, cols: number, scale: number, lengths: number): void;
  toBf16(x: number, out: number, n: number): void;
  transposedScratchBytes(rows: number): number;
  unpackBf16(x: number, out: number, n: number): void;
}

const modules: { private?: WasmModule; shared?: WasmModule } = {};

function compile(base64: string): WasmModule {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const { Module } = webAssembly();
  try {
    return new Module(bytes);
  } catch (cause) {
    throw new KernelsError({
      code: 'kernels/no-simd',
      message: 'this JavaScript engine could not compile the kernels',
      remedy: 'use Node 20.19 or later, or a browser with WebAssembly SIMD (and threads for shared memory)',
      cause,
    });
  }
}

/** Instantiates the binary that fits the memory; modules are compiled once. */
export function instantiate(memory: WasmMemory, shared: boolean): KernelExports {
  const module = shared
    ? (modules.shared ??= compile(sharedMemoryBinary))
    : (modules.private ??= compile(privateMemoryBinary));
  const { Instance } = webAssembly();
  return new Instance(module, { env: { memory } }).exports as KernelExports;
}
