import { defineConfig } from 'vitest/config';

const shared = { testTimeout: 60_000, hookTimeout: 60_000 };
const sourceConditions = ['@moestack/source', 'module', 'node', 'import', 'default'];

// `source` runs on TypeScript sources; `built` runs on dist, where worker threads and packed entry points live.
export default defineConfig({
  test: {
    // All cores: many tests wait for processes and timers, and one core less leaves half of a small machine idle.
    maxWorkers: '100%',
    projects: [
      {
        resolve: { conditions: sourceConditions },
        ssr: { resolve: { conditions: sourceConditions, externalConditions: sourceConditions } },
        test: {
          name: 'source',
          include: ['packages/*/{src,test}/**/*.test.ts'],
          exclude: ['**/*.built.test.ts', '**/node_modules/**'],
          ...shared,
        },
      },
      {
        test: {
          name: 'built',
          include: [
            'packages/*/{src,test}/**/*.built.test.ts',
            'examples/*/**/*.test.ts',
            '.ci/**/*.test.ts',
          ],
          exclude: ['**/node_modules/**'],
          ...shared,
        },
      },
    ],
  },
});
