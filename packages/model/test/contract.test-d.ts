import { loadModel, type Model } from '../src/index.js';

/** The published contract of this package. */
interface ContractModel {
  readonly config: unknown;
  logits(tokens: Int32Array, options?: { chunk?: number }): Promise<Float32Array>;
  generate(
    tokens: Int32Array,
    options: { maxTokens: number; temperature?: number; seed?: number },
  ): Promise<Int32Array>;
  close(): Promise<void>;
}
type ContractLoadModel = (
  path: string,
  options?: {
    precision?: 'f32' | 'bf16' | 'fp8-weights' | 'w8a8';
    attention?: 'naive' | 'absorbed';
    config?: string;
    ranks?: number;
  },
) => Promise<ContractModel>;

export const contractLoadModel: ContractLoadModel = loadModel;
export const givesContractModel: (model: Model) => ContractModel = (model) => model;
