import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    mpi: 'src/mpi/index.ts',
    cost: 'src/cost/index.ts',
    worker: 'src/worker/index.ts',
  },
  format: 'esm',
  target: 'node20',
  clean: ['!**/*.d.ts'],
  tsconfig: 'tsconfig.json',
});
