// Enforces the dependency table of the architecture: imports point down only, through public entry points.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

const allowed = {
  schemas: [],
  kernels: ['schemas'],
  fp8: ['schemas', 'kernels'],
  routing: ['schemas', 'kernels'],
  placement: ['schemas'],
  collectives: ['schemas', 'kernels', 'fp8'],
  model: ['schemas', 'kernels', 'fp8', 'routing', 'placement', 'collectives'],
  training: ['schemas', 'kernels', 'fp8', 'routing', 'collectives', 'model'],
  'tiny-moe': [],
  scheduler: ['schemas'],
  detect: ['schemas', 'kernels'],
  'detect/embedded': ['schemas', 'kernels', 'model', 'tiny-moe', 'detect'],
  serving: ['schemas', 'scheduler'],
  'serving/embedded': ['schemas', 'scheduler', 'model', 'kernels', 'collectives', 'placement'],
  simulator: ['schemas', 'scheduler', 'placement', 'collectives'],
  tooling: ['schemas'],
  fixtures: [],
};
const browser = new Set(['schemas', 'kernels', 'fp8', 'routing', 'placement', 'detect']);
const testOnly = new Set(['fixtures', 'tooling', 'tiny-moe']);
const problems = [];

function* sources(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* sources(path);
    else if (path.endsWith('.ts') && !path.endsWith('.wasm.ts')) yield path;
  }
}

const importPattern =
  /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;

/** Files that the main entry of a package reaches through relative imports. */
function reachable(file, seen = new Set()) {
  if (seen.has(file) || file.endsWith('.wasm.ts')) return seen;
  seen.add(file);
  for (const match of readFileSync(file, 'utf8').matchAll(importPattern)) {
    const specifier = match[1] ?? match[2];
    if (specifier.startsWith('.')) reachable(join(dirname(file), specifier.replace(/\.js$/, '.ts')), seen);
  }
  return seen;
}

for (const name of browser) {
  if (!readdirSync('packages').includes(name)) continue;
  for (const file of reachable(join('packages', name, 'src/index.ts'))) {
    for (const match of readFileSync(file, 'utf8').matchAll(importPattern)) {
      const specifier = match[1] ?? match[2];
      if (specifier.startsWith('node:'))
        problems.push(`${file}: ${specifier} in a package that runs in browsers`);
    }
  }
}

for (const name of readdirSync('packages')) {
  const folder = join('packages', name);
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (name !== 'moestack' && !(name in allowed)) problems.push(`${folder}: not in the dependency table`);
  for (const file of sources(join(folder, 'src'))) {
    const isTest = /\.test(-d)?\.ts$/.test(file);
    const layer =
      ['serving', 'detect'].includes(name) && file.includes('/embedded/') ? `${name}/embedded` : name;
    for (const match of readFileSync(file, 'utf8').matchAll(importPattern)) {
      const specifier = match[1] ?? match[2];
      if (specifier.startsWith('.')) {
        if (join(file, '..', specifier).split('/')[1] !== name)
          problems.push(`${file}: ${specifier} leaves the package`);
        continue;
      }
      const own = /^@moestack\/([^/]+)(\/.*)?$/.exec(specifier);
      if (own === null) continue;
      const [, target, subpath] = own;
      if (isTest && testOnly.has(target)) continue;
      if (name !== 'moestack' && !isTest && target !== name && !allowed[layer]?.includes(target)) {
        problems.push(`${file}: ${layer} must not import ${specifier}`);
      }
      const targetManifest = JSON.parse(readFileSync(join('packages', target, 'package.json'), 'utf8'));
      if (!(`.${subpath ?? ''}` in targetManifest.exports))
        problems.push(`${file}: ${specifier} is not a public entry point`);
      const declared = {
        ...manifest.dependencies,
        ...manifest.peerDependencies,
        ...(isTest ? manifest.devDependencies : {}),
      };
      if (target !== name && !(`@moestack/${target}` in declared))
        problems.push(`${file}: ${specifier} is not in package.json`);
    }
  }
}

if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log('layers: every import points down');
