import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openCheckpoint } from '@moestack/fp8/node';
import type { Precision } from '@moestack/model';

/** What a record says of a model's weights. */
export interface WeightsIdentity {
  /**
   * Of the one safetensors file, or of the lines `<digest>  <file>` of all shards in the order of their names, as
   * `sha256sum` prints them.
   */
  readonly sha256: string;
  /** How `@moestack/model` computes with them unless told otherwise. */
  readonly precision: Precision;
}

/** Reads all weights once and digests them. */
export async function identifyWeights(path: string, signal?: AbortSignal): Promise<WeightsIdentity> {
  const checkpoint = await openCheckpoint(path);
  const infos = checkpoint.names().map((name) => checkpoint.info(name));
  await checkpoint.close();
  const files = new Set(infos.map(({ file }) => file));
  const isFp8 = infos.some(({ dtype }) => dtype.startsWith('F8_E4M3'));
  const sha256 = await weightsDigest(path, files, signal);
  return { sha256, precision: isFp8 ? 'fp8-weights' : 'f32' };
}

async function weightsDigest(
  path: string,
  files: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<string> {
  const lines: string[] = [];
  const isFolder = (await stat(path)).isDirectory();
  for (const file of [...files].sort()) {
    const digest = await fileDigest(isFolder ? join(path, file) : path, signal);
    if (files.size === 1) return digest;
    lines.push(`${digest}  ${file}\n`);
  }
  return createHash('sha256').update(lines.join('')).digest('hex');
}

async function fileDigest(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  const stream = createReadStream(path, { highWaterMark: 2 ** 20, ...(signal !== undefined && { signal }) });
  for await (const chunk of stream) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
