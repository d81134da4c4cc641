import * as fp8 from '@moestack/fp8';
import * as node from '@moestack/fp8/node';

type FormatName =
  | 'e4m3fn'
  | 'e5m2'
  | 'e4m3'
  | 'e3m4'
  | 'e4m3fnuz'
  | 'e5m2fnuz'
  | 'e4m3b11fnuz'
  | 'e8m0fnu'
  | 'e5m6'
  | 'e2m3fn'
  | 'e3m2fn'
  | 'e2m1fn'
  | 'bf16'
  | 'f16';
type Rounding = 'nearestEven' | 'nearestAway' | 'towardZero' | 'up' | 'down' | 'stochastic';
type Preset =
  | 'ml_dtypes'
  | 'torch-2.13'
  | 'nvidia-satfinite'
  | 'nvidia-nosat'
  | 'nvidia-rz'
  | 'nvidia-rp'
  | 'nvidia-rz-nosat'
  | 'nvidia-rp-nosat';
type Codes = Uint8Array | Uint16Array;
type ScaleFormat = 'f32' | 'powerOfTwo' | 'e8m0fnu';
type Scheme =
  | { kind: 'tensor' | 'row'; format?: FormatName; scale?: ScaleFormat }
  | {
      kind: 'tile';
      tile?: [rows: number, cols: number];
      format?: FormatName;
      scale?: ScaleFormat;
      order?: 'divide' | 'reciprocal';
      amaxFloor?: number;
    }
  | { kind: 'mx'; format: FormatName; rule: 'floor' | 'ceil' }
  | { kind: 'nvfp4' };
interface QuantizedTensor {
  shape: [number, number];
  scheme: Scheme;
  codes: Codes;
  scales: Float32Array;
  scaleCodes?: Uint8Array;
  globalScale?: number;
}
type Architecture = 'hopper' | 'ada' | 'blackwell' | 'rtx-blackwell';
interface ByteSource {
  readonly size: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}
interface Checkpoint {
  names(): string[];
  info(name: string): { dtype: string; shape: number[]; bytes: number };
  read(name: string): Promise<Uint8Array>;
  readFloat32(name: string): Promise<Float32Array>;
}

/** The agreed surface of the main entry; the exports must be assignable to it. */
interface Contract {
  decode(format: FormatName, codes: Codes, options?: { out?: Float32Array }): Float32Array;
  encode(
    format: FormatName,
    values: Float32Array | Float64Array,
    options?: {
      rounding?: Rounding;
      overflow?: 'saturate' | 'nonSaturating';
      preset?: Preset;
      random?: () => number;
      out?: Codes;
    },
  ): Codes;
  quantize(values: Float32Array, shape: [number, number], scheme: Scheme): QuantizedTensor;
  dequantize(q: QuantizedTensor, options?: { out?: Float32Array }): Float32Array;
  mma(
    spec: {
      architecture: Architecture;
      aFormat: FormatName;
      bFormat: FormatName;
      output: 'f32' | 'f16';
      m: number;
      n: number;
      k: number;
    },
    a: Uint8Array,
    b: Uint8Array,
    c: Float32Array,
    scales?: { a: Uint8Array; b: Uint8Array },
  ): Float32Array;
  matmul(
    a: QuantizedTensor,
    b: QuantizedTensor,
    options?: {
      accumulate?: 'f64' | 'f32' | Architecture;
      promoteEvery?: number;
      promotion?: 'deepgemm' | 'kernelpy';
      out?: Float32Array;
    },
  ): Float32Array;
  openCheckpoint(sources: Record<string, ByteSource>): Promise<Checkpoint>;
}

/** What training builds on; added around the agreed surface. */
interface LinearContract {
  recipe(
    name: 'deepseek-v3' | 'hybrid' | 'delayed' | 'current' | 'mxfp8' | 'bf16' | 'f32',
    overrides?: {
      role?: 'default' | 'afterAttention' | 'moeUp' | 'moeDown';
      accumulate?: 'f32' | Architecture;
    },
  ): fp8.Recipe;
  Fp8Linear: new (options: {
    inFeatures: number;
    outFeatures: number;
    recipe: fp8.Recipe;
  }) => {
    forward(
      input: Float32Array | QuantizedTensor,
      weight: Float32Array,
      options?: { out?: Float32Array },
    ): Float32Array;
    backward(
      gradient: Float32Array | QuantizedTensor,
      options?: { inputGradient?: Float32Array; weightGradient?: Float32Array; addWeightGradient?: boolean },
    ): { inputGradient: Float32Array; weightGradient: Float32Array };
    invalidate(): void;
    step(): void;
    readonly kept: { readonly bytes: number; readonly bf16Bytes: number } | undefined;
  };
}

interface NodeContract {
  openCheckpoint(path: string): Promise<Checkpoint>;
  convertCheckpoint(options: {
    from: string;
    to: string;
    target: 'bf16' | 'f16' | 'f32' | 'fp8-block';
    onProgress?: (p: { doneBytes: number; totalBytes: number }) => void;
    signal?: AbortSignal;
  }): Promise<{ tensors: number; bytesWritten: number }>;
}

fp8 satisfies Contract;
fp8 satisfies LinearContract;
node satisfies NodeContract;
