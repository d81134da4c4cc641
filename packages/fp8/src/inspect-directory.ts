import type { CheckpointInspection } from '@moestack/schemas';
import { type InspectSettings, inspectCheckpoint as inspect } from './inspect-checkpoint.js';
import { openCheckpoint } from './open-directory.js';

/** Options of {@link inspectCheckpoint}. */
export interface InspectDirectoryOptions extends InspectSettings {
  /** Model folder or file that the checkpoint was converted from, to measure the error against. */
  readonly original?: string;
}

/**
 * Reports the numerics of every tensor of a checkpoint on disk, as `inspectCheckpoint` of `@moestack/fp8` does of an
 * open one.
 *
 * @param path - model folder or `.safetensors` file.
 *
 * @example
 * ```ts
 * import { inspectionTable } from '@moestack/fp8';
 * import { inspectCheckpoint } from '@moestack/fp8/node';
 *
 * console.log(inspectionTable(await inspectCheckpoint('path/to/model')));
 * ```
 */
export async function inspectCheckpoint(
  path: string,
  options: InspectDirectoryOptions = {},
): Promise<CheckpointInspection> {
  const { original, ...settings } = options;
  const checkpoint = await openCheckpoint(path);
  try {
    if (original === undefined) return await inspect(checkpoint, { ...settings, source: path });
    const opened = await openCheckpoint(original);
    try {
      const names = { source: path, originalName: original };
      return await inspect(checkpoint, { ...settings, ...names, original: opened });
    } finally {
      await opened.close();
    }
  } finally {
    await checkpoint.close();
  }
}
