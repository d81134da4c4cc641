import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'ai-sdk': 'src/guardrail/ai-sdk.ts',
    'embedded/index': 'src/embedded/index.ts',
    guardrail: 'src/guardrail/index.ts',
    hono: 'src/guardrail/hono.ts',
    llama: 'src/language-model/llama.ts',
    openai: 'src/language-model/openai.ts',
    pairs: 'src/pairs/index.ts',
    replay: 'src/language-model/replay.ts',
    sglang: 'src/language-model/sglang.ts',
    transformers: 'src/language-model/transformers.ts',
    vllm: 'src/language-model/vllm.ts',
  },
  format: 'esm',
  target: 'node20',
  clean: ['!**/*.d.ts'],
  tsconfig: 'tsconfig.json',
});
