import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TrainingError } from '../errors.js';

/** An npm package, pinned by the hash of its archive. */
export interface PackageReference {
  readonly name: string;
  readonly version: string;
  /** Subresource integrity of the archive: `sha512-...`. */
  readonly integrity: string;
}

/** Options of {@link fetchPackage}. */
export interface FetchPackageOptions {
  /** Where archives are kept. */
  readonly cacheDirectory: string;
  /** How long npm may take; default 300. */
  readonly timeoutSeconds?: number;
  readonly signal?: AbortSignal;
}

/** Most bytes of an archive. */
export const MAX_ARCHIVE_BYTES: number = 64 * 1024 * 1024;

/**
 * The archive of a package: from the cache, else by `npm pack`, which honours the registry and proxy that npm is set
 * up with. No script of the package runs.
 *
 * @throws TrainingError `training/fetch-failed` where npm cannot get it, `training/bad-package` where the archive is
 * another one than the integrity says.
 */
export async function fetchPackage(
  reference: PackageReference,
  options: FetchPackageOptions,
): Promise<Uint8Array> {
  const { cacheDirectory } = options;
  requireName(reference);
  const name = `${reference.name.replace(/^@/, '').replaceAll('/', '-')}-${reference.version}.tgz`;
  const path = join(cacheDirectory, name);
  const cached = await readBounded(path);
  if (cached !== undefined && integrityOf(cached) === reference.integrity) return cached;

  await mkdir(cacheDirectory, { recursive: true });
  const folder = await mkdtemp(join(cacheDirectory, 'fetch-'));
  try {
    await npmPack(reference, folder, options);
    const packed = (await readdir(folder)).find((file) => file.endsWith('.tgz'));
    const bytes = packed === undefined ? undefined : await readBounded(join(folder, packed));
    if (packed === undefined || bytes === undefined) {
      throw fetchFailed(reference, 'npm pack wrote no archive');
    }
    const integrity = integrityOf(bytes);
    if (integrity !== reference.integrity) {
      throw new TrainingError({
        code: 'training/bad-package',
        message: `expected ${reference.integrity} for ${reference.name}@${reference.version}, got ${integrity}`,
        value: integrity,
        remedy:
          'use a registry that serves the published archive, or correct the integrity in the configuration',
      });
    }
    await rename(join(folder, packed), path);
    return bytes;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Subresource integrity of bytes, SHA-512. */
export function integrityOf(bytes: Uint8Array): string {
  return `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
}

/** What goes to npm's command line must be a plain name and version: no flags, paths or addresses. */
function requireName({ name, version }: PackageReference): void {
  if (/^(?:@[a-z0-9~-][\w.~-]*\/)?[a-z0-9~][\w.~-]*$/.test(name) && /^\d[\w.+-]*$/.test(version)) return;
  throw new TrainingError({
    code: 'training/bad-package',
    message: `expected the name and exact version of an npm package, got ${name}@${version}`,
    value: `${name}@${version}`,
    remedy: 'name it as the registry does, such as @scope/name and 1.2.3',
  });
}

function npmPack(
  reference: PackageReference,
  folder: string,
  { timeoutSeconds = 300, signal }: FetchPackageOptions,
): Promise<void> {
  const args = [
    'pack',
    `${reference.name}@${reference.version}`,
    '--pack-destination',
    folder,
    '--ignore-scripts',
    '--loglevel=error',
  ];
  const settings = {
    timeout: timeoutSeconds * 1000,
    // On Windows npm is a command file, which only a shell starts; the arguments were checked above.
    shell: process.platform === 'win32',
    ...(signal !== undefined && { signal }),
  };
  return new Promise((resolve, reject) => {
    execFile('npm', args, settings, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else if (signal?.aborted === true) reject(signal.reason);
      else reject(fetchFailed(reference, stderr.trim().slice(-500) || error.message, error));
    });
  });
}

async function readBounded(path: string): Promise<Uint8Array | undefined> {
  try {
    const { size } = await stat(path);
    if (size > MAX_ARCHIVE_BYTES) return undefined;
    const file = await open(path, 'r');
    try {
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function fetchFailed({ name, version }: PackageReference, reason: string, cause?: unknown): TrainingError {
  return new TrainingError({
    code: 'training/fetch-failed',
    message: `cannot get ${name}@${version} with npm pack: ${reason}`,
    value: `${name}@${version}`,
    remedy: 'connect to an npm registry once; later runs read the archive from the cache and need no network',
    ...(cause === undefined ? {} : { cause }),
  });
}
