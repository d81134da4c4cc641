import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type EngineFile, readEngineFiles } from './engine-file.js';
import { badFile, type EngineFileLimits, limits } from './limits.js';
import { readTensorRtLlmStatistics, type TensorRtLlmStatistics } from './tensorrt-llm-statistics.js';

/** Longest file that Node reads at once. */
const NODE_READ_BYTES = 2 ** 31 - 1;

/** Files of one recording, or the folder of TensorRT-LLM's statistics. */
export type EnginePath =
  | EngineFile
  | { readonly kind: 'statistics'; readonly statistics: TensorRtLlmStatistics };

/**
 * Reads one file, the dumps of all ranks of one recording, or a folder with TensorRT-LLM's statistics.
 *
 * @throws PlacementError `placement/bad-file`, naming the file.
 */
export async function readEnginePaths(
  paths: readonly string[],
  options: EngineFileLimits = {},
): Promise<EnginePath> {
  const [first] = paths;
  if (first === undefined) throw badFile('expected at least one file', 0, 'name a file');
  if (paths.length === 1 && (await info(first)).isDirectory()) {
    return { kind: 'statistics', statistics: await readStatisticsFolder(first, options) };
  }
  const files: Uint8Array[] = [];
  for (const path of paths) files.push(await readBounded(path, options));
  try {
    return await readEngineFiles(files, options);
  } catch (error) {
    throw named(error, paths.length === 1 ? first : `${first} and ${paths.length - 1} more`);
  }
}

/** Reads the folder that TensorRT-LLM's EXPERT_STATISTIC_PATH names. */
export async function readStatisticsFolder(
  folder: string,
  options: EngineFileLimits = {},
): Promise<TensorRtLlmStatistics> {
  const files: Record<string, Uint8Array> = {};
  const names = (await readdir(folder)).filter(
    (name) => name === 'meta_info.json' || /^rank.*\.safetensors$/.test(name),
  );
  const hasCounts = names.some((name) => name.endsWith('.safetensors') && !name.endsWith('_raw.safetensors'));
  for (const name of names.sort()) {
    if (hasCounts && name.endsWith('_raw.safetensors')) continue;
    files[name] = await readBounded(join(folder, name), options);
  }
  try {
    return readTensorRtLlmStatistics(files);
  } catch (error) {
    throw named(error, folder);
  }
}

/** Reads a whole file of bounded length. */
export async function readBounded(
  path: string,
  { maxBytes = limits.maxBytes }: EngineFileLimits,
): Promise<Uint8Array> {
  const entry = await info(path);
  if (!entry.isFile()) throw badFile(`expected a file, got ${path}`, path, 'name a file');
  const most = Math.min(maxBytes, NODE_READ_BYTES);
  if (entry.size > most) {
    throw badFile(
      `expected at most ${most} bytes in ${path}, got ${entry.size}`,
      entry.size,
      'record less at a time',
    );
  }
  const bytes = await readFile(path).catch((cause: Error) => {
    throw badFile(`cannot read ${path}: ${cause.message}`, path, 'name a file that can be read', cause);
  });
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

async function info(path: string) {
  return stat(path).catch((cause: Error) => {
    throw badFile(`cannot read ${path}: ${cause.message}`, path, 'name a file that exists', cause);
  });
}

function named(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || error.code !== 'placement/bad-file') return error;
  const { value, remedy } = error as Error & { value?: unknown; remedy?: string };
  return badFile(`${basename(path)}: ${error.message}`, value, remedy ?? 'check the file', error);
}
