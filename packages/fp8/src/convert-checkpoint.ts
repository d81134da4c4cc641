import { lstat, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AbortedError } from '@moestack/schemas/errors';
import { PARTIAL_SUFFIX, StagedFiles, writeAtomically } from './atomic-files.js';
import { CONFIG_FILE, INDEX_FILE, SINGLE_FILE } from './checkpoint.js';
import { convertConfig } from './conversion-config.js';
import {
  checkDistinct,
  checkSpace,
  claimFolder,
  companionFiles,
  describeConversion,
  sourceFolder,
} from './conversion-folder.js';
import {
  type ConversionTarget,
  isConversionTarget,
  type PlannedShard,
  planConversion,
} from './conversion-plan.js';
import { convertTensor } from './convert-tensor.js';
import { Fp8Error } from './errors.js';
import { openCheckpoint } from './open-directory.js';
import type { Checkpoint } from './safetensors-checkpoint.js';

/** Options of {@link convertCheckpoint}. */
export interface ConvertOptions {
  /** Model folder or `.safetensors` file, as {@link openCheckpoint} takes it. */
  readonly from: string;
  /** New or empty folder, or one where the same conversion was interrupted. */
  readonly to: string;
  /** Dtype of the result; `fp8-block`: E4M3 projections with float32 scales of 128x128 blocks, the rest as it is. */
  readonly target: ConversionTarget;
  /** Called after every piece written; bytes of the result, those of an earlier call included. */
  readonly onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
  /** Stops between two pieces; complete shards stay for the next call. */
  readonly signal?: AbortSignal;
}

/** What {@link convertCheckpoint} did. */
export interface ConvertResult {
  /** Tensors of the result, scales included. */
  tensors: number;
  /** Bytes of safetensors files written by this call; shards of an earlier call do not count. */
  bytesWritten: number;
}

/**
 * Converts a checkpoint on disk between block-scaled FP8 and BF16, F16 or F32, in memory that does not grow with it.
 *
 * Shards keep their names and appear one by one, each complete. After an interruption the same call takes up where
 * it ended. `config.json` follows the target; tokenizer and other small files are copied.
 *
 * @throws {@link Fp8Error} for bad options, a source that is damaged or a target folder that holds anything else,
 * before anything is written; `AbortedError` when `signal` fires.
 *
 * @example
 * ```ts
 * import { convertCheckpoint } from '@moestack/fp8/node';
 *
 * const result = await convertCheckpoint({
 *   from: 'path/to/DeepSeek-V3',
 *   to: 'path/to/DeepSeek-V3-bf16',
 *   target: 'bf16',
 *   onProgress: ({ doneBytes, totalBytes }) => console.log(doneBytes / totalBytes),
 * });
 * console.log(result.tensors, result.bytesWritten);
 * ```
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<ConvertResult> {
  const { from, to, target, onProgress, signal } = options;
  checkOptions(options);
  checkAbort(signal);
  const checkpoint = await openCheckpoint(from);
  try {
    const folder = await sourceFolder(from);
    await checkDistinct(folder, to);
    const shards = planConversion(checkpoint, target);
    const config = await readFile(join(folder, CONFIG_FILE)).catch(() => undefined);
    const converted = config === undefined ? undefined : convertConfig(config, target);
    const manifest = await describeConversion(checkpoint, folder, target, shards);
    checkAbort(signal);
    const sharded = await isSharded(folder, from, shards);
    const pathOf = (shard: PlannedShard): string => join(to, sharded ? shard.file : SINGLE_FILE);
    await checkSpace(to, await missingBytes(shards, pathOf));
    const { durable } = await claimFolder(to, manifest);
    const totalBytes = shards.reduce((sum, { layout }) => sum + layout.fileBytes, 0);
    const result: ConvertResult = { tensors: 0, bytesWritten: 0 };
    let doneBytes = 0;
    const small = new StagedFiles();
    try {
      // Written first and named last: the disk takes them in while shards are converted.
      if (sharded) await small.add(join(to, INDEX_FILE), new TextEncoder().encode(indexJson(shards)));
      for (const name of await companionFiles(folder)) {
        checkAbort(signal);
        await small.add(join(to, name), await readFile(join(folder, name)));
      }
      if (converted !== undefined) await small.add(join(to, CONFIG_FILE), converted);
      for (const shard of shards) {
        result.tensors += shard.tensors.length;
        const path = pathOf(shard);
        if (await isComplete(path, shard)) {
          doneBytes += shard.layout.fileBytes;
          onProgress?.({ doneBytes, totalBytes });
          continue;
        }
        await writeShard(checkpoint, shard, path, signal, (bytes) => {
          doneBytes += bytes;
          result.bytesWritten += bytes;
          onProgress?.({ doneBytes, totalBytes });
        });
        await durable;
      }
      await small.commit();
    } finally {
      await small.discard();
    }
    return result;
  } finally {
    await checkpoint.close();
  }
}

function checkOptions({ from, to, target }: ConvertOptions): void {
  for (const [key, path] of Object.entries({ from, to })) {
    if (typeof path === 'string' && path !== '' && !path.includes('\0')) continue;
    throw new Fp8Error({
      code: 'fp8/bad-path',
      message: `expected ${key} as a path, got ${String(path)}`,
      value: path,
      remedy: 'pass a folder',
    });
  }
  if (isConversionTarget(target)) return;
  throw new Fp8Error({
    code: 'fp8/bad-target',
    message: `expected target as bf16, f16, f32 or fp8-block, got ${String(target)}`,
    value: target,
    remedy: 'choose one of them',
  });
}

function checkAbort(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortedError('convertCheckpoint', signal.reason);
}

async function isSharded(folder: string, from: string, shards: readonly PlannedShard[]): Promise<boolean> {
  if (shards.length > 1 || from.endsWith(INDEX_FILE)) return true;
  if (!(await stat(from)).isDirectory()) return false;
  return await stat(join(folder, INDEX_FILE)).then(
    () => true,
    () => false,
  );
}

async function missingBytes(
  shards: readonly PlannedShard[],
  pathOf: (shard: PlannedShard) => string,
): Promise<number> {
  let bytes = 0;
  for (const shard of shards) {
    if (await isComplete(pathOf(shard), shard)) continue;
    // What a killed run left makes room for itself.
    const partial = await lstat(pathOf(shard) + PARTIAL_SUFFIX).catch(() => undefined);
    bytes += shard.layout.fileBytes - (partial?.size ?? 0);
  }
  return bytes;
}

/** Complete shards alone bear their final name; size and header tell that it is this one. */
async function isComplete(path: string, { layout }: PlannedShard): Promise<boolean> {
  // A link is not what was written here.
  const info = await lstat(path).catch(() => undefined);
  if (info?.isFile() !== true || info.size !== layout.fileBytes) return false;
  const header = Buffer.alloc(layout.header.length);
  const handle = await open(path, 'r');
  try {
    const { bytesRead } = await handle.read(header, 0, header.length, 0);
    return bytesRead === header.length && header.equals(layout.header);
  } finally {
    await handle.close();
  }
}

async function writeShard(
  checkpoint: Checkpoint,
  { tensors, layout }: PlannedShard,
  path: string,
  signal: AbortSignal | undefined,
  written: (bytes: number) => void,
): Promise<void> {
  await writeAtomically(path, async (writeAt) => {
    const write = async (bytes: Uint8Array, position: number): Promise<void> => {
      checkAbort(signal);
      await writeAt(bytes, position);
      written(bytes.length);
    };
    await write(layout.header, 0);
    for (const tensor of tensors) await convertTensor(checkpoint, tensor, layout, write);
    checkAbort(signal);
  });
}

/** Written by hand, since a tensor may be called `__proto__`. */
function indexJson(shards: readonly PlannedShard[]): string {
  let totalSize = 0;
  const lines: string[] = [];
  for (const { file, layout } of shards) {
    for (const [name, { bytes }] of layout.tensors) {
      totalSize += bytes;
      lines.push(`    ${JSON.stringify(name)}: ${JSON.stringify(file)}`);
    }
  }
  return `{\n  "metadata": {\n    "total_size": ${totalSize}\n  },\n  "weight_map": {\n${lines.join(',\n')}\n  }\n}\n`;
}
