// The package is installed on demand beside the benchmark cache, not in the workspace; this is what the benchmark uses of it.
declare module 'node-llama-cpp' {
  interface LlamaSequence {
    clearHistory(): Promise<void>;
    evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
    evaluate(tokens: number[], options: Record<string, unknown>): AsyncIterable<number>;
  }
  export function getLlama(options: Record<string, unknown>): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      createContext(options: Record<string, unknown>): Promise<{ getSequence(): LlamaSequence }>;
      dispose(): Promise<void>;
    }>;
  }>;
}
