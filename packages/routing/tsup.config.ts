import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    trace: 'src/trace/index.ts',
  },
  format: 'esm',
  target: 'node20',
  clean: ['!**/*.d.ts'],
  tsconfig: 'tsconfig.json',
});
