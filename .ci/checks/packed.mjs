// Packs every published package, checks it with publint and are-the-types-wrong, and installs each alone in an
// empty folder, where it is imported and required as a stranger would.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const work = mkdtempSync(join(tmpdir(), 'moestack-packed-'));
const tarballs = new Map();

function run(command, args, cwd) {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (result.status !== 0) {
    console.error(`${command} ${args.join(' ')} failed in ${cwd}\n${result.stdout}\n${result.stderr}`);
    process.exit(1);
  }
  return result.stdout;
}

/** The package that an entry cannot be imported without, if one is missing. */
function missingPackage(entry, cwd) {
  const { stderr } = spawnSync('node', ['--input-type=module', '-e', `import '${entry}'`], {
    cwd,
    encoding: 'utf8',
  });
  return /Cannot find package '([^']+)'/.exec(stderr)?.[1];
}

const packages = readdirSync(join(root, 'packages'))
  .map((name) => ({ name, folder: join(root, 'packages', name) }))
  .map((entry) => ({
    ...entry,
    manifest: JSON.parse(readFileSync(join(entry.folder, 'package.json'), 'utf8')),
  }))
  .filter((entry) => entry.manifest.private !== true);

for (const { name, folder, manifest } of packages) {
  const out = join(work, 'tarballs', name);
  mkdirSync(out, { recursive: true });
  run('pnpm', ['pack', '--pack-destination', out], folder);
  const file = readdirSync(out).find((entry) => entry.endsWith('.tgz'));
  tarballs.set(manifest.name, join(out, file));
  run(join(root, 'node_modules/.bin/publint'), ['run', join(out, file), '--strict'], root);
  const workers = Object.keys(manifest.exports).filter(
    (key) => key === './package.json' || typeof manifest.exports[key] === 'string',
  );
  run(
    join(root, 'node_modules/.bin/attw'),
    [
      join(out, file),
      '--profile',
      'esm-only',
      '--exclude-entrypoints',
      ...workers.map((key) => key.replace(/^\.\//, '')),
    ],
    root,
  );
}

for (const { name, manifest } of packages) {
  const folder = join(work, 'install', name);
  mkdirSync(folder, { recursive: true });
  const dependencies = Object.fromEntries([...tarballs].map(([id, file]) => [id, `file:${file}`]));
  const install = (extra) => {
    // Overrides make the packed siblings stand in for the registry; only this package is asked for.
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({
        private: true,
        dependencies: { [manifest.name]: dependencies[manifest.name], ...extra },
        overrides: dependencies,
      }),
    );
    run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'], folder);
  };
  install({});
  const entries = Object.keys(manifest.exports)
    .filter((key) => typeof manifest.exports[key] === 'object')
    .map((key) => manifest.name + key.slice(1));
  const check = (names) => {
    writeFileSync(
      join(folder, 'check.mjs'),
      names
        .map(
          (entry, index) =>
            `import * as e${index} from '${entry}'; if (Object.keys(e${index}).length === 0) throw new Error('${entry} exports nothing');`,
        )
        .join('\n'),
    );
    writeFileSync(join(folder, 'check.cjs'), names.map((entry) => `require('${entry}');`).join('\n'));
    run('node', ['check.mjs'], folder);
    run('node', ['check.cjs'], folder);
  };
  // The main entry needs no optional peer; a subpath may be for the users of one.
  const optional = Object.keys(manifest.peerDependenciesMeta ?? {});
  const needsPeer = entries.filter((entry) => optional.includes(missingPackage(entry, folder)));
  if (needsPeer.includes(manifest.name)) {
    console.error(
      `${manifest.name}: the main entry does not load without ${missingPackage(manifest.name, folder)}`,
    );
    process.exit(1);
  }
  check(entries.filter((entry) => !needsPeer.includes(entry)));
  if (needsPeer.length > 0) {
    const peers = [...new Set(needsPeer.map((entry) => missingPackage(entry, folder)))];
    install(
      Object.fromEntries(peers.map((name) => [name, dependencies[name] ?? manifest.peerDependencies[name]])),
    );
    check(needsPeer);
  }
  for (const bin of Object.keys(manifest.bin ?? {})) {
    const help = execFileSync(join(folder, 'node_modules/.bin', bin), ['--help'], { encoding: 'utf8' });
    if (!help.includes('Usage')) throw new Error(`${bin} --help prints no usage`);
    const doctor = execFileSync(join(folder, 'node_modules/.bin', bin), ['doctor', '--json'], {
      encoding: 'utf8',
    });
    for (const line of doctor.trim().split('\n')) JSON.parse(line);
  }
  console.log(`${manifest.name}: packed, installed alone, imported and required (${entries.join(', ')})`);
}
rmSync(work, { recursive: true, force: true });
