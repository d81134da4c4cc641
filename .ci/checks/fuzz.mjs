// Runs every parser's fuzzer for a while (default 60 s each): `pnpm run fuzz [SECONDS]`. Every rejection must be a
// MoestackError and the heap must not grow; the fuzzers throw otherwise.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = resolve(import.meta.dirname, '../..');
const { build } = createRequire(join(root, 'packages/tooling/package.json'))('esbuild');
const seconds = Number(process.argv[2] ?? 60);
const round = 2000;

// Sources that node cannot load as they are; their data lies beside them, not beside the bundle.
const fixtures = join(root, 'packages/fixtures/src/index.ts');
const bundledFixtures = {
  name: 'fixtures',
  setup(bundle) {
    bundle.onResolve({ filter: /^@moestack\/fixtures$/ }, () => ({ path: fixtures }));
    bundle.onLoad({ filter: /fixtures\/src\/index\.ts$/ }, () => ({
      contents: readFileSync(fixtures, 'utf8').replaceAll(
        'import.meta.url',
        JSON.stringify(pathToFileURL(fixtures).href),
      ),
      loader: 'ts',
    }));
  },
};

for (const name of readdirSync(join(root, 'packages'))) {
  const folder = join(root, 'packages', name, 'test');
  if (!existsSync(folder)) continue;
  for (const file of readdirSync(folder).filter(
    (entry) => /^fuzz-.*\.ts$/.test(entry) && !entry.includes('.test.'),
  )) {
    const outdir = join(root, 'packages', name, 'node_modules', '.cache');
    mkdirSync(outdir, { recursive: true });
    const outfile = join(outdir, `${file}.mjs`);
    await build({
      entryPoints: [join(folder, file)],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'node',
      packages: 'external',
      plugins: [bundledFixtures],
      conditions: ['@moestack/source'],
    });
    const { fuzz } = await import(pathToFileURL(outfile).href);
    const start = performance.now();
    let runs = 0;
    let rejected = 0;
    for (let seed = 1; performance.now() - start < seconds * 1000; seed++) {
      const result = await fuzz(seed * 7919, round);
      runs += result.runs;
      rejected += result.rejected;
    }
    rmSync(outfile);
    console.log(`${name}/${file}: ${runs} mutations, ${rejected} rejected with a typed error`);
  }
}
