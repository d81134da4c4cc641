import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { type BenchDefinition, type BenchFigures, runBench } from './bench.js';

const help = `pnpm bench [NAME...] [--json] [--no-peers]

Times bench/NAME.bench.ts of every package (all of them without NAME), peers interleaved in the same run.
  --json       also write bench/results/NAME.json beside the benchmark
  --no-peers   do not install the packages that a benchmark compares with
Example: pnpm bench kernels --json`;

/** What benchmarks compare with; installed on demand outside the workspace, since together they are some 500 MB. */
const peers = [
  '@tensorflow/tfjs-core@4.22.0',
  '@tensorflow/tfjs-backend-wasm@4.22.0',
  'onnxruntime-node@1.30.0',
  'node-llama-cpp@3.22.1',
  `@node-llama-cpp/${process.platform === 'darwin' ? 'mac' : 'linux'}-${process.arch}@3.22.1`,
  '@portkey-ai/gateway@1.15.2',
];

function installPeers(root: string): string {
  const folder = join(root, 'node_modules', '.cache', 'moestack-bench');
  const missing = peers.filter(
    (peer) => !existsSync(join(folder, 'node_modules', peer.slice(0, peer.lastIndexOf('@')))),
  );
  if (missing.length === 0) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  console.error(`installing benchmark peers (${peers.join(', ')}) ...`);
  const { status } = spawnSync(
    'npm',
    [
      'install',
      '--ignore-scripts',
      '--omit=optional',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      ...peers,
    ],
    {
      cwd: folder,
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  );
  if (status !== 0) console.error('the peers could not be installed: ratios to them are skipped');
  return folder;
}

function findBenches(root: string): string[] {
  return readdirSync(join(root, 'packages'))
    .map((name) => join(root, 'packages', name, 'bench'))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) =>
      readdirSync(folder)
        .filter((file) => file.endsWith('.bench.ts'))
        .map((file) => join(folder, file)),
    );
}

/** Where a peer lies; its bare name when it is not installed, so that importing it fails as for any missing package. */
function resolvePeer(folder: string, name: string): string {
  try {
    return pathToFileURL(createRequire(join(folder, 'package.json')).resolve(name)).href;
  } catch {
    // A package that only ES modules may import has no path that `require` would give.
    const base = join(folder, 'node_modules', name);
    if (!existsSync(join(base, 'package.json'))) return name;
    const manifest = JSON.parse(readFileSync(join(base, 'package.json'), 'utf8')) as { main?: string };
    return pathToFileURL(join(base, manifest.main ?? 'dist/index.js')).href;
  }
}

/** Bundles the file beside itself, peers resolved from their own folder, so that plain Node can run it. */
async function load(file: string, peerFolder: string | undefined): Promise<BenchDefinition> {
  const outfile = join(dirname(file), `.${basename(file, '.ts')}.mjs`);
  await build({
    entryPoints: [file],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    logLevel: 'error',
    plugins: [
      {
        name: 'peers',
        setup(builder) {
          builder.onResolve({ filter: /^(@tensorflow\/|onnxruntime-node|node-llama-cpp)/ }, (args) => ({
            path: peerFolder === undefined ? args.path : resolvePeer(peerFolder, args.path),
            external: true,
          }));
        },
      },
    ],
  });
  try {
    return ((await import(`${pathToFileURL(outfile).href}`)) as { default: BenchDefinition }).default;
  } finally {
    rmSync(outfile, { force: true });
  }
}

/** As soon as a group is done, so that a run that is stopped has said something. */
function print({ rows, ratios }: BenchFigures): void {
  for (const row of rows)
    console.log(`${row.name.padEnd(56)} ${row.median.toPrecision(4).padStart(10)} ${row.unit}`);
  for (const ratio of ratios) {
    const figure = ratio.median === null ? `skipped: ${ratio.skipped}` : `${ratio.median.toFixed(3)}x`;
    const aim = ratio.aim === undefined ? '' : `  (aim ${ratio.aim})`;
    console.log(`${ratio.name.padEnd(56)} ${figure.padStart(10)}${aim}`);
  }
}

const args = process.argv.slice(2);
if (args.includes('--help')) {
  console.log(help);
} else {
  const root = resolve(dirname(new URL(import.meta.url).pathname), '../../..');
  const names = args.filter((argument) => !argument.startsWith('--'));
  const peerFolder = args.includes('--no-peers') ? undefined : installPeers(root);
  for (const file of findBenches(root)) {
    const name = basename(file, '.bench.ts');
    if (names.length > 0 && !names.includes(name)) continue;
    const report = await runBench(await load(file, peerFolder), {
      onGroup: (group) => console.error(`# ${name}: ${group}`),
      onFigures: print,
    });
    for (const note of report.notes) console.log(note);
    if (args.includes('--json')) {
      const folder = join(dirname(file), 'results');
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(report, null, 2)}\n`);
    }
  }
}
