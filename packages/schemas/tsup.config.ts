import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    errors: 'src/errors.ts',
    html: 'src/html.ts',
  },
  format: 'esm',
  target: 'node20',
  clean: ['!**/*.d.ts'],
  tsconfig: 'tsconfig.json',
});
