import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    worker: 'src/worker.ts',
    // Worker ranks import this one by its address.
    'token-source': 'src/corpus/token-source.ts',
  },
  format: 'esm',
  target: 'node20',
  clean: ['!**/*.d.ts'],
  tsconfig: 'tsconfig.json',
});
