import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { AbortedError, TimeoutError } from '@moestack/schemas/errors';
import { PlacementError } from '../errors.js';
import { positiveInteger } from '../operands.js';
import { readBounded } from './engine-paths.js';
import type { EngineFileLimits } from './limits.js';
import { readSglangRecord, type SglangRecord } from './sglang-record.js';
import { SglangRecorderClient, type SglangRecorderOptions } from './sglang-recorder.js';

/** Options of {@link recordSglang}. */
export interface RecordSglangOptions extends SglangRecorderOptions, EngineFileLimits {
  /** The server's SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR, as seen from here. */
  readonly directory: string;
  /** How long to record; default 60. */
  readonly recordSeconds?: number;
  /** Files of a dump: 1 in the modes stat and stat_approx (default), one per rank in the others. */
  readonly files?: number;
  /** How long the files of a dump may take to appear whole; default 60. */
  readonly fileTimeoutSeconds?: number;
  readonly signal?: AbortSignal;
}

/** A finished recording and the files it came from. */
export interface RecordedSglang {
  readonly record: SglangRecord;
  readonly paths: readonly string[];
}

const POLL_MS = 50;

/**
 * Records the expert load of a running SGLang server: starts its recorder, stops it after a while, has it dump, and reads
 * the new files. The server records nothing further when this ends, also after a failure.
 *
 * @throws PlacementError, TimeoutError or AbortedError.
 */
export async function recordSglang(url: string, options: RecordSglangOptions): Promise<RecordedSglang> {
  const { directory, recordSeconds = 60, signal } = options;
  const client = new SglangRecorderClient(url, options);
  const files = positiveInteger('files', options.files ?? 1);
  const before = new Set(await dumps(directory));
  try {
    await client.start(signalOption(signal));
    await wait(recordSeconds * 1000, undefined, signalOption(signal));
    await client.stop(signalOption(signal));
  } catch (error) {
    // The server may have begun although the answer was not waited for; one that refused may record for someone else.
    if (!PlacementError.isInstance(error)) await client.stop().catch(() => undefined);
    throw signal?.aborted ? new AbortedError('recording', signal.reason) : error;
  }
  await client.dump(signalOption(signal));
  const paths = await newDumps(directory, before, { files, options });
  const contents: Uint8Array[] = [];
  for (const path of paths) contents.push(await readBounded(path, options));
  return { record: await readSglangRecord(contents, options), paths };
}

function signalOption(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

async function dumps(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch((cause: Error) => {
    throw new PlacementError({
      code: 'placement/bad-config',
      message: `cannot read the folder of dumps: ${cause.message}`,
      value: directory,
      remedy: 'name the SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR of the server, as this machine sees it',
      cause,
    });
  });
  return names.filter((name) => /^expert_distribution_recorder_.*\.pt$/.test(name)).sort();
}

/** New dumps, once they are there and no longer grow: the server answers before a rank has closed its file. */
async function newDumps(
  directory: string,
  before: ReadonlySet<string>,
  { files, options }: { files: number; options: RecordSglangOptions },
): Promise<string[]> {
  const { signal, fileTimeoutSeconds = 60 } = options;
  const tries = Math.max(2, Math.ceil((fileTimeoutSeconds * 1000) / POLL_MS));
  let seen = '';
  for (let i = 0; i < tries; i++) {
    const paths = (await dumps(directory))
      .filter((name) => !before.has(name))
      .map((name) => join(directory, name));
    if (paths.length >= files) {
      const sizes = await Promise.all(paths.map(async (path) => `${path}:${(await stat(path)).size}`));
      const now = sizes.join();
      if (now === seen && !now.endsWith(':0')) return paths;
      seen = now;
    }
    await wait(POLL_MS, undefined, signalOption(signal)).catch((error: unknown) => {
      throw signal?.aborted ? new AbortedError('waiting for a dump', signal.reason) : error;
    });
  }
  throw new TimeoutError(`waiting for ${files} dumps in ${directory}`, fileTimeoutSeconds);
}
