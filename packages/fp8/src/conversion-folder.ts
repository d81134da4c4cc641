import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, realpath, stat, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { PARTIAL_SUFFIX, writeNamed } from './atomic-files.js';
import { CONFIG_FILE } from './checkpoint.js';
import { MAX_JSON_FILE_BYTES } from './checkpoint-index.js';
import type { ConversionTarget, PlannedShard } from './conversion-plan.js';
import { Fp8Error } from './errors.js';
import type { Checkpoint } from './safetensors-checkpoint.js';

/** Marks a folder as the result, whole or in part, of a conversion. */
const MANIFEST_FILE = '.moestack-conversion.json';
/** Weights in whatever format: not copied along. */
const WEIGHT_FILE = /\.(safetensors|bin|pt|pth|ckpt|gguf|onnx|h5|msgpack|npz|partial)$|\.index\.json$/i;

/** Folder of a checkpoint given as folder or file. */
export async function sourceFolder(from: string): Promise<string> {
  return (await stat(from)).isDirectory() ? from : dirname(from);
}

/** Refuses a target that is the source folder. */
export async function checkDistinct(folder: string, to: string): Promise<void> {
  const target = await realpath(to).catch(() => resolve(to));
  if (target !== (await realpath(folder))) return;
  throw new Fp8Error({
    code: 'fp8/same-folder',
    message: `expected to and from to differ, got ${target} for both`,
    value: to,
    remedy: 'convert into a new folder',
  });
}

/** The manifest of a conversion: its target, a digest of what the source is, the files and sizes of the result. */
export async function describeConversion(
  checkpoint: Checkpoint,
  folder: string,
  target: ConversionTarget,
  shards: readonly PlannedShard[],
): Promise<string> {
  const digest = createHash('sha256').update(JSON.stringify(checkpoint.quantization));
  const files = new Set<string>();
  for (const name of checkpoint.names()) {
    const info = checkpoint.info(name);
    files.add(info.file);
    digest.update(JSON.stringify([name, info]));
  }
  for (const file of files) {
    const { size, mtimeMs } = await stat(join(folder, file));
    digest.update(JSON.stringify([file, size, mtimeMs]));
  }
  const sizes = shards.map(({ file, layout }) => ({ file, bytes: layout.fileBytes }));
  const manifest = { schemaVersion: 1, target, source: digest.digest('hex'), shards: sizes };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/**
 * Makes `to` ready: an empty or new folder gets the manifest, one with the same manifest is taken up again.
 *
 * @throws {@link Fp8Error} `fp8/target-not-empty` for a folder of anything else, `fp8/conversion-mismatch` for the
 * result of another source or target; nothing was changed then.
 * @returns `durable`, which ends when the manifest is on disk.
 */
export async function claimFolder(to: string, manifest: string): Promise<{ durable: Promise<void> }> {
  const present = await readdir(to).catch((cause: NodeJS.ErrnoException): string[] => {
    if (cause.code === 'ENOENT') return [];
    throw new Fp8Error({
      code: 'fp8/bad-target-folder',
      message: `cannot use ${to} as a folder: ${cause.message}`,
      value: to,
      remedy: 'pass a folder that can be created or is writable',
      cause,
    });
  });
  if (present.includes(MANIFEST_FILE)) {
    const path = join(to, MANIFEST_FILE);
    const { size } = await stat(path);
    const same = size === Buffer.byteLength(manifest) && (await readFile(path, 'utf8')) === manifest;
    if (same) return { durable: Promise.resolve() };
    throw new Fp8Error({
      code: 'fp8/conversion-mismatch',
      message: `${to} holds a conversion of another source or to another target`,
      value: to,
      remedy: 'pass another folder, or remove this one: the source may have changed since',
    });
  }
  if (present.some((name) => name !== MANIFEST_FILE + PARTIAL_SUFFIX)) {
    throw new Fp8Error({
      code: 'fp8/target-not-empty',
      message: `expected an empty folder or an unfinished conversion, got ${present.length} files in ${to}`,
      value: to,
      remedy: 'pass a new folder: files that are not its own are never overwritten',
    });
  }
  await mkdir(to, { recursive: true });
  return await writeNamed(join(to, MANIFEST_FILE), Buffer.from(manifest));
}

/**
 * Refuses a conversion for which the disk of `to` has no room; `neededBytes` beyond what is there already.
 *
 * @throws {@link Fp8Error} `fp8/no-space`.
 */
export async function checkSpace(to: string, neededBytes: number): Promise<void> {
  let folder = resolve(to);
  let disk = await statfs(folder).catch(() => undefined);
  while (disk === undefined && dirname(folder) !== folder) {
    folder = dirname(folder);
    disk = await statfs(folder).catch(() => undefined);
  }
  // Some network file systems do not say.
  if (disk === undefined || disk.blocks === 0) return;
  const freeBytes = disk.bavail * disk.bsize;
  if (freeBytes >= neededBytes) return;
  throw new Fp8Error({
    code: 'fp8/no-space',
    message: `the result takes ${neededBytes} more bytes, but ${folder} has ${freeBytes} left`,
    value: neededBytes,
    remedy: 'free some space, or convert to another disk',
  });
}

/** Small files beside the weights that belong to the model: tokenizer, generation settings, model code, licence. */
export async function companionFiles(folder: string): Promise<string[]> {
  const companions: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (name.startsWith('.') || name === CONFIG_FILE || WEIGHT_FILE.test(name)) continue;
    // A dangling link of a download cache is no companion.
    const info = await stat(join(folder, name)).catch(() => undefined);
    if (info?.isFile() && info.size <= MAX_JSON_FILE_BYTES) companions.push(name);
  }
  return companions;
}
