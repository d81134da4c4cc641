// Walks what users install with the published packages and fails on a licence that is not on the list.
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { publishedPackages, readJson } from './lib/packages.mjs';

/** Permissive licences that ask for attribution only. */
const allowed = new Set([
  'MIT',
  'ISC',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'CC0-1.0',
  'Python-2.0',
  'BlueOak-1.0.0',
]);

/** `(MIT OR GPL-2.0)` is fine when one side is, `A AND B` when both are. */
function isAllowed(expression) {
  const text = expression.replace(/^\((.*)\)$/, '$1');
  if (text.includes(' AND ')) return text.split(' AND ').every(isAllowed);
  return text.split(' OR ').some((part) => allowed.has(part.trim().replace(/^\(|\)$/g, '')));
}

/** The folder of a dependency, searched as Node does, from the real folder of who depends on it. */
function locate(name, from) {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return realpathSync(candidate);
    if (folder === dirname(folder)) return undefined;
  }
}

const found = new Map();
const problems = [];
const queue = publishedPackages.map(({ folder }) => folder);
const seen = new Set();
for (const folder of queue) {
  if (seen.has(folder)) continue;
  seen.add(folder);
  const manifest = readJson(join(folder, 'package.json'));
  const license = manifest.license ?? manifest.licenses?.map(({ type }) => type).join(' OR ') ?? 'none';
  if (typeof license !== 'string' || !isAllowed(license))
    problems.push(`${manifest.name}@${manifest.version}: ${JSON.stringify(license)}`);
  found.set(`${manifest.name}@${manifest.version}`, license);
  const optional = { ...manifest.optionalDependencies, ...manifest.peerDependenciesMeta };
  const required = {
    ...manifest.dependencies,
    ...manifest.optionalDependencies,
    ...manifest.peerDependencies,
  };
  for (const name of Object.keys(required)) {
    const path = locate(name, folder);
    if (path !== undefined) queue.push(path);
    else if (!(name in optional)) problems.push(`${manifest.name}: ${name} is not installed`);
  }
}
if (problems.length > 0) {
  console.error(`licences that are not allowed, or packages that could not be read:\n${problems.join('\n')}`);
  process.exit(1);
}
const outside = [...found].filter(([id]) => !/^(@moestack\/|moestack@)/.test(id));
const counts = new Map();
for (const [, license] of outside) counts.set(license, (counts.get(license) ?? 0) + 1);
const summary = [...counts].map(([license, count]) => `${license} ${count}`).join(', ');
console.log(`licences: ${outside.length} packages from outside (${summary})`);
