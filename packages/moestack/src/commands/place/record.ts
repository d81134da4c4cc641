import { encodeLoad } from '@moestack/placement';
import { recordSglang } from '@moestack/placement/interop/node';
import type { Reporter } from '../../reporter.js';
import { checkOutput } from '../fp8/output-file.js';
import { writeBytes } from './write-bytes.js';

/** Options of `moestack place record`. */
export interface RecordCommandOptions {
  readonly directory: string;
  readonly seconds: number;
  readonly files: number;
  readonly timeout: number;
  readonly apiKey?: string;
  readonly out?: string;
}

/** Records the expert load of a running SGLang server. */
export async function record(
  url: string,
  options: RecordCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { directory, seconds, files, timeout, apiKey, out } = options;
  await checkOutput(out);
  reporter.note({ event: 'recording', url, seconds }, `recording for ${seconds} s`);
  const { record: result, paths } = await recordSglang(url, {
    directory,
    recordSeconds: seconds,
    files,
    timeoutSeconds: timeout,
    fileTimeoutSeconds: timeout,
    signal,
    ...(apiKey === undefined ? {} : { apiKey }),
  });
  const { load } = result.counts;
  if (out !== undefined) await writeBytes(out, new TextEncoder().encode(encodeLoad(load)));
  let tokens = 0;
  for (const count of load.counts) tokens += count;
  const { layers, experts } = load;
  const event = {
    event: 'recorded',
    files: paths,
    mode: result.mode,
    steps: result.steps,
    layers,
    experts,
    tokens,
  };
  reporter.result({ ...event, ...(out === undefined ? {} : { out }) }, [
    `${result.mode}, ${result.steps} steps: ${layers} layers, ${experts} experts, ${tokens} routed tokens`,
    ...paths,
  ]);
  if (out !== undefined) reporter.note({ event: 'written', file: out }, `written: ${out}`);
}
