// A release rehearsed from end to end: versions by changesets in a copy of the repository, published to a registry on this
// machine; then each package is installed alone in an empty folder, checked, imported, required, and its README's examples are
// run, on this Node and on a newer one. `pnpm run release:check [--this-node]`
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { publishedPackages, readJson, root, typedEntries } from './lib/packages.mjs';
import { installTool, startRegistry } from './lib/registry.mjs';

const NEWER_NODE = '22.23.3';
const { transformSync } = createRequire(join(root, 'packages/tooling/package.json'))('esbuild');
const budgets = readJson(join(import.meta.dirname, 'size-budgets.json'));
const work = mkdtempSync(join(tmpdir(), 'moestack-release-'));
const copy = join(work, 'repository');

function run(command, args, { cwd = root, env = process.env } = {}) {
  const result = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    timeout: 300_000,
    maxBuffer: 1 << 26,
  });
  if (result.status === 0) return result.stdout;
  throw new Error(
    `${command} ${args.join(' ')} failed in ${cwd}\n${result.stdout}\n${result.stderr}\n${result.error ?? ''}`,
  );
}

/** The files of the packages as they are now, committed or not, with what was built; so nothing here touches the repository. */
function copyRepository() {
  const listed = run('git', ['ls-files', '-co', '--exclude-standard']).split('\n');
  for (const file of listed) {
    const isNeeded = !file.includes('/') || /^(\.changeset|packages)\//.test(file);
    if (
      file === '' ||
      !isNeeded ||
      file.startsWith('packages/fixtures/data/') ||
      !existsSync(join(root, file))
    )
      continue;
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    copyFileSync(join(root, file), join(copy, file));
  }
  for (const { name, folder } of publishedPackages) {
    cpSync(join(folder, 'dist'), join(copy, 'packages', name, 'dist'), { recursive: true });
    for (const file of readdirSync(join(folder, 'src')).filter((file) => file.endsWith('.wasm.ts')))
      copyFileSync(join(folder, 'src', file), join(copy, 'packages', name, 'src', file));
    // `workspace:` ranges are resolved through the folders of the packages, as after an install.
    const names = Object.keys({
      ...readJson(join(folder, 'package.json')).dependencies,
      ...readJson(join(folder, 'package.json')).peerDependencies,
    }).filter((id) => id.startsWith('@moestack/'));
    for (const id of names) {
      const target = join(copy, 'packages', name, 'node_modules', id);
      mkdirSync(target, { recursive: true });
      copyFileSync(join(root, 'packages', id.slice(10), 'package.json'), join(target, 'package.json'));
    }
  }
  const git = (...args) =>
    run('git', ['-c', 'user.name=rehearsal', '-c', 'user.email=rehearsal@localhost', ...args], { cwd: copy });
  git('init', '-q', '-b', 'main');
  git('add', '-A');
  git('commit', '-qm', 'Rehearse');
}

const ownDependencies = (folder) => {
  const at = join(folder, 'node_modules/@moestack');
  return existsSync(at) ? readdirSync(at) : [];
};

/** `changeset version`: every change is consumed, and no package leaves its major version without a change that says so. */
function raiseVersions() {
  const changes = () =>
    readdirSync(join(copy, '.changeset')).filter((file) => file.endsWith('.md') && file !== 'README.md');
  const texts = changes().map((file) => readFileSync(join(copy, '.changeset', file), 'utf8'));
  run(join(root, 'node_modules/.bin/changeset'), ['version'], { cwd: copy });
  if (changes().length > 0) throw new Error(`changesets were left over: ${changes()}`);
  const versions = new Map();
  for (const { name, manifest } of publishedPackages) {
    const folder = join(copy, 'packages', name);
    const { version } = readJson(join(folder, 'package.json'));
    versions.set(manifest.name, version);
    const isMeant = texts.some((text) => new RegExp(`^['"]${manifest.name}['"]: major`, 'm').test(text));
    if (version.split('.')[0] !== manifest.version.split('.')[0] && !isMeant)
      throw new Error(
        `${manifest.name} would become ${version} though no change is major: check its peer dependencies`,
      );
    for (const id of ownDependencies(folder))
      copyFileSync(
        join(copy, 'packages', id, 'package.json'),
        join(folder, 'node_modules/@moestack', id, 'package.json'),
      );
  }
  console.log(
    `versions after ${texts.length} changes: ${[...versions].map(([id, version]) => `${id} ${version}`).join(', ')}`,
  );
  return versions;
}

function unpackedBytes(folder) {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += entry.name === 'node_modules' ? 0 : unpackedBytes(path);
    else bytes += statSync(path).size;
  }
  return bytes;
}

/** What publint and are-the-types-wrong say of the published archive, and its size against the budget. */
function checkArchive({ name, manifest }, archive) {
  run(join(root, 'node_modules/.bin/publint'), ['run', archive, '--strict']);
  const untyped = Object.keys(manifest.exports).filter(
    (key) => key === './package.json' || typeof manifest.exports[key] === 'string',
  );
  run(join(root, 'node_modules/.bin/attw'), [
    archive,
    '--profile',
    'esm-only',
    '--exclude-entrypoints',
    ...untyped.map((key) => key.replace(/^\.\//, '')),
  ]);
  const kilobytes = statSync(archive).size / 1000;
  const budget = budgets[name];
  if (budget === undefined) throw new Error(`${manifest.name} has no budget in .ci/checks/size-budgets.json`);
  if (kilobytes > budget)
    throw new Error(`${manifest.name}: ${kilobytes.toFixed(0)} kB packed, more than its ${budget} kB`);
  return kilobytes;
}

const snippetsOf = (markdown) => [...markdown.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, body]) => body);
const importsOf = (body) =>
  [...body.matchAll(/from '([^']+)'/g)].map(([, id]) => /^(@[^/]+\/[^/]+|[^/]+)/.exec(id)[1]);

/** Installs a package alone and uses it as its README says. */
function useAlone({ manifest }, nodes, env) {
  const folder = join(work, 'alone', manifest.name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  const install = (names) =>
    run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error', ...names], {
      cwd: folder,
      env,
    });
  const isInstalled = (id) => existsSync(join(folder, 'node_modules', id));
  install([manifest.name]);
  const installed = join(folder, 'node_modules', manifest.name);
  const text = readFileSync(join(installed, 'package.json'), 'utf8');
  if (/workspace:|catalog:/.test(text))
    throw new Error(`${manifest.name} was published with ranges of the workspace`);

  const entries = typedEntries(manifest).map(([subpath]) => manifest.name + subpath.slice(1));
  const optional = Object.keys(manifest.peerDependenciesMeta ?? {});
  const missing = (entry) => {
    const { stderr } = spawnSync(nodes[0], ['--input-type=module', '-e', `import '${entry}'`], {
      cwd: folder,
      encoding: 'utf8',
    });
    const id = /Cannot find package '([^']+)'/.exec(stderr)?.[1];
    return optional.includes(id) ? id : undefined;
  };
  // Only a subpath may need an optional peer.
  if (missing(manifest.name) !== undefined)
    throw new Error(`${manifest.name}: the main entry does not load without ${missing(manifest.name)}`);
  const peers = [...new Set(entries.map(missing).filter((id) => id !== undefined))];
  const load = (names) => {
    const lines = names.map(
      (entry, i) =>
        `import * as e${i} from '${entry}'; if (Object.keys(e${i}).length === 0) throw new Error('${entry} exports nothing');`,
    );
    writeFileSync(join(folder, 'load.mjs'), lines.join('\n'));
    writeFileSync(join(folder, 'load.cjs'), names.map((entry) => `require('${entry}');`).join('\n'));
    for (const node of nodes) for (const file of ['load.mjs', 'load.cjs']) run(node, [file], { cwd: folder });
  };
  load(entries.filter((entry) => missing(entry) === undefined));
  if (peers.length > 0) {
    const ranges = readJson(join(installed, 'package.json')).peerDependencies;
    install(peers.map((id) => `${id}@${ranges[id]}`));
    load(entries);
  }

  const readme = readFileSync(join(installed, 'README.md'), 'utf8');
  const snippets = snippetsOf(readme);
  const others = [...new Set(snippets.flatMap(importsOf))].filter(
    (id) => !id.startsWith('node:') && !isInstalled(id),
  );
  for (const id of others)
    if (!readme.includes(id))
      throw new Error(`${manifest.name}: the README does not say that its example needs ${id}`);
  // Optional peers of our own that the README names are loaded on demand by its examples.
  others.push(
    ...optional.filter((id) => id.startsWith('@moestack/') && readme.includes(id) && !isInstalled(id)),
  );
  if (others.length > 0) install(others);
  for (const [index, body] of snippets.entries()) {
    const file = join(folder, `snippet-${index}.mjs`);
    writeFileSync(file, transformSync(body, { loader: 'ts', format: 'esm', target: 'node20' }).code);
    for (const node of nodes)
      if (run(node, [file], { cwd: folder }) === '')
        throw new Error(`${manifest.name}: snippet ${index} prints nothing`);
  }
  for (const bin of Object.keys(manifest.bin ?? {})) {
    for (const node of nodes) {
      const script = join(installed, manifest.bin[bin]);
      if (!run(node, [script, '--help'], { cwd: folder }).includes('Usage'))
        throw new Error(`${bin} --help prints no usage`);
      for (const line of run(node, [script, 'doctor', '--json'], { cwd: folder }).trim().split('\n'))
        JSON.parse(line);
    }
  }
  const bytes = unpackedBytes(installed);
  rmSync(folder, { recursive: true, force: true });
  return { entries: entries.length, snippets: snippets.length, bytes };
}

const nodes = [process.execPath];
if (!process.argv.includes('--this-node')) {
  const folder = installTool(`node-${NEWER_NODE}`, { node: NEWER_NODE });
  nodes.push(join(folder, 'node_modules/node/bin/node'));
}
copyRepository();
const versions = raiseVersions();
const registry = await startRegistry(work);
try {
  const output = run(join(root, 'node_modules/.bin/changeset'), ['publish', '--no-git-tag'], {
    cwd: copy,
    env: registry.env,
  });
  if (/error|failed/i.test(output)) throw new Error(output);
  console.log(`on Node ${nodes.map((node) => run(node, ['-v']).trim()).join(' and ')}:`);
  for (const entry of publishedPackages) {
    const { name } = entry.manifest;
    const archive = join(registry.storage, name, `${name.replace(/^.*\//, '')}-${versions.get(name)}.tgz`);
    const kilobytes = checkArchive(entry, archive);
    const { entries, snippets, bytes } = useAlone(entry, nodes, registry.env);
    console.log(
      `${name.padEnd(22)} ${kilobytes.toFixed(0).padStart(6)} kB packed of ${String(budgets[entry.name]).padStart(5)}, ${(bytes / 1000).toFixed(0).padStart(6)} kB installed; ${entries} entries and ${snippets} examples ran alone`,
    );
  }
} finally {
  registry.stop();
  rmSync(work, { recursive: true, force: true });
}
