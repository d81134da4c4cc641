import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'embedded/index': 'src/embedded/index.ts',
    'load/index': 'src/load/index.ts',
    'otel/index': 'src/otel/index.ts',
    'embedded/worker': 'src/embedded/worker.ts',
  },
  format: 'esm',
  target: 'node20',
  clean: ['!**/*.d.ts'],
  tsconfig: 'tsconfig.json',
});
