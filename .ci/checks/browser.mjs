// Builds every package that promises to run in browsers with Vite and fails on imports of Node built-ins.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'vite';

const root = resolve(import.meta.dirname, '../..');
const cache = join(root, 'node_modules', '.cache');
mkdirSync(cache, { recursive: true });
const work = mkdtempSync(join(cache, 'browser-'));

const entries = [
  'schemas',
  'kernels',
  'fp8',
  'routing',
  'collectives/cost',
  'placement',
  'placement/interop',
  'placement/report',
  'detect',
  'simulator',
];
for (const name of entries) {
  const [folder, file = 'index'] = name.split('/');
  // An entry inside the package resolves its own name and its dependencies as an application would.
  const entry = join(work, `${name.replace('/', '-')}.js`);
  writeFileSync(
    entry,
    `import * as entry from ${JSON.stringify(join(root, 'packages', folder, `dist/${file}.js`))};\nglobalThis.entry = entry;\n`,
  );
  const found = [];
  await build({
    root: work,
    logLevel: 'error',
    build: { write: false, lib: { entry, formats: ['es'] }, rollupOptions: { external: [] } },
    plugins: [
      {
        name: 'no-node-imports',
        enforce: 'pre',
        resolveId(source, importer) {
          if (source.startsWith('node:')) found.push(`${importer} imports ${source}`);
          return null;
        },
      },
    ],
  });
  if (found.length > 0) {
    console.error(`@moestack/${name} does not run in browsers:\n${found.join('\n')}`);
    process.exit(1);
  }
  console.log(`@moestack/${name}: bundles for browsers`);
}
rmSync(work, { recursive: true, force: true });
