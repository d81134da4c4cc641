// The packages are installed on demand beside the benchmark cache, not in the workspace; this is what the benchmark uses
// of them.
declare module '@tensorflow/tfjs-core' {
  export interface Tensor {
    dispose(): void;
  }
  export function setBackend(name: string): Promise<boolean>;
  export function ready(): Promise<void>;
  export function tensor2d(values: Float32Array, shape: [number, number]): Tensor;
  export function matMul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean): Tensor;
  export function env(): { set(flag: string, value: boolean): void };
}
declare module '@tensorflow/tfjs-backend-wasm' {
  export const version_wasm: string;
}
declare module 'onnxruntime-node' {
  export class Tensor {
    constructor(type: 'float32', data: Float32Array, dims: number[]);
  }
  export const InferenceSession: {
    create(
      model: Uint8Array,
      options: Record<string, unknown>,
    ): Promise<{ run(feeds: Record<string, Tensor>): Promise<unknown> }>;
  };
}
