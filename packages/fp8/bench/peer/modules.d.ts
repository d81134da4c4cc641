// Installed on demand beside the benchmark cache, not in the workspace; this is what the benchmark uses of it.
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
