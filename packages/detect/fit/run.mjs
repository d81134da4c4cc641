// Runs a script of this folder from its TypeScript source: `node fit/run.mjs fit.ts TEXTS_FOLDER`.
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const [script] = process.argv.splice(2, 1);
const outdir = resolve(import.meta.dirname, '../node_modules/.cache');
mkdirSync(outdir, { recursive: true });
const outfile = join(outdir, `${script}.mjs`);
await build({
  entryPoints: [join(import.meta.dirname, script)],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'node',
  packages: 'external',
  conditions: ['@moestack/source'],
});
await import(pathToFileURL(outfile).href);
rmSync(outfile);
