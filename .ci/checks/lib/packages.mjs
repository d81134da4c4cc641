// What the checks know of the workspace: which packages are published, and what their entry points are.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '../../..');

export const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

/** Every package of `packages/` that users install, by folder name. */
export const publishedPackages = readdirSync(join(root, 'packages'))
  .map((name) => ({ name, folder: join(root, 'packages', name) }))
  .filter(({ folder }) => existsSync(join(folder, 'package.json')))
  .map((entry) => ({ ...entry, manifest: readJson(join(entry.folder, 'package.json')) }))
  .filter(({ manifest }) => manifest.private !== true);

/** Entry points with types, as `[subpath, conditions]`; worker files and package.json are plain strings. */
export const typedEntries = (manifest) =>
  Object.entries(manifest.exports).filter(([, target]) => typeof target === 'object');
