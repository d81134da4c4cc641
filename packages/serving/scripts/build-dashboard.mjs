// Bundles the dashboard's page into src/dashboard/assets.generated.ts, so that the package needs no files beside its code.
import { readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { build, transform } from 'esbuild';

const directory = new URL('../src/dashboard/', import.meta.url);
const path = (name) => new URL(name, directory).pathname;
const budgetBytes = 60_000;

const bundle = await build({
  entryPoints: [path('client/main.ts')],
  bundle: true,
  minify: true,
  write: false,
  format: 'esm',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'none',
});
const css = await transform(await readFile(path('client/style.css'), 'utf8'), {
  loader: 'css',
  minify: true,
});
const html = await readFile(path('client/index.html'), 'utf8');
const assets = {
  'index.html': html.replaceAll(/>\n\s*</g, '>\n<'),
  'app.js': bundle.outputFiles[0].text,
  'style.css': css.code,
  'icon.svg': await readFile(path('client/icon.svg'), 'utf8'),
};
const sizeBytes = Object.values(assets).reduce((sum, text) => sum + Buffer.byteLength(text), 0);
if (sizeBytes > budgetBytes) {
  throw new Error(`the dashboard has ${sizeBytes} bytes, ${budgetBytes} are allowed: make it smaller`);
}
const lines = Object.entries(assets).map(
  ([name, text]) => `  ${JSON.stringify(name)}: ${JSON.stringify(text)},`,
);
await writeFile(
  path('assets.generated.ts'),
  `/** The dashboard's files by name. */\nexport const dashboardAssets: Readonly<Record<string, string>> = {\n${lines.join('\n')}\n};\n`,
);
const compressed = Object.values(assets).reduce((sum, text) => sum + gzipSync(text).length, 0);
console.log(`dashboard: ${sizeBytes} bytes, ${compressed} compressed`);
