import { open } from 'node:fs/promises';
import type { LoadTrace } from '@moestack/placement';
import { readEnginePaths } from '@moestack/placement/interop/node';
import { CliError } from '../../errors.js';
import { countsOf } from './load-input.js';

/** How a trace is to be read. */
export interface TraceOptions {
  readonly shape?: [minutes: number, layers: number, experts: number];
  readonly dtype?: 'uint16' | 'int32' | 'float32' | 'float64';
  readonly passes?: number;
}

const arrays = {
  uint16: Uint16Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
} as const;

/** Counts in all; a day of 61 layers x 256 experts is 22 million. */
const MAX_COUNTS = 2 ** 28;

/** Reads load by the minute: raw counts, one recording of forward passes, or a file a minute. */
export async function readTrace(files: readonly string[], options: TraceOptions): Promise<LoadTrace> {
  const { shape, passes } = options;
  const trace =
    shape !== undefined
      ? await readRaw(files, shape, options.dtype ?? 'uint16')
      : passes !== undefined
        ? await readPasses(files, passes)
        : await readMinutes(files);
  return withoutIdleLayers(trace);
}

async function readRaw(
  files: readonly string[],
  [minutes, layers, experts]: [number, number, number],
  dtype: keyof typeof arrays,
): Promise<LoadTrace> {
  const [path] = files as [string];
  const count = minutes * layers * experts;
  const array = arrays[dtype];
  const wanted = count * array.BYTES_PER_ELEMENT;
  if (files.length > 1)
    throw badTrace(`expected one raw file, got ${files.length}`, 'name one file with --shape');
  checkCount(count);
  const handle = await open(path).catch((cause: Error) => {
    throw badTrace(`cannot read ${path}: ${cause.message}`, 'name a file that exists', cause);
  });
  try {
    const { size } = await handle.stat();
    if (size !== wanted) {
      throw badTrace(
        `expected ${wanted} bytes in ${path} for ${minutes} x ${layers} x ${experts} of ${dtype}, got ${size}`,
        'check --shape and --dtype',
      );
    }
    const bytes = await handle.readFile();
    const counts = new array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + wanted));
    return {
      minutes,
      layers,
      experts,
      counts: counts instanceof Float32Array ? Float64Array.from(counts) : counts,
    };
  } finally {
    await handle.close();
  }
}

async function readPasses(files: readonly string[], passes: number): Promise<LoadTrace> {
  const file = await readEnginePaths(files);
  const record = file.kind === 'load' ? file.record : undefined;
  if (record === undefined || record.passes.length === 0) {
    throw badTrace(
      `expected a recording of forward passes in ${files[0]}`,
      'record with --expert-distribution-recorder-mode per_pass, or pass a file a minute',
    );
  }
  const { layers, experts } = record.counts.load;
  const minutes = Math.floor(record.passes.length / passes);
  checkCount(minutes * layers * experts);
  const counts = new Float64Array(minutes * layers * experts);
  for (let i = 0; i < minutes * passes; i++) {
    const first = Math.floor(i / passes) * layers * experts;
    const pass = record.passes[i]!.counts;
    for (let j = 0; j < pass.length; j++) counts[first + j]! += pass[j]!;
  }
  return { minutes, layers, experts, counts };
}

async function readMinutes(files: readonly string[]): Promise<LoadTrace> {
  let counts: Float64Array | undefined;
  let [layers, experts] = [0, 0];
  for (const [minute, path] of files.entries()) {
    const load = countsOf(await readEnginePaths([path]))?.load;
    if (load === undefined)
      throw badTrace(`expected recorded load in ${path}`, 'pass dumps or loads, one a minute');
    if (counts === undefined) {
      ({ layers, experts } = load);
      checkCount(files.length * layers * experts);
      counts = new Float64Array(files.length * layers * experts);
    }
    if (load.layers !== layers || load.experts !== experts) {
      throw badTrace(
        `expected ${layers} layers of ${experts} experts in ${path}, got ${load.layers} of ${load.experts}`,
        'pass recordings of one model',
      );
    }
    counts.set(load.counts, minute * layers * experts);
  }
  return { minutes: files.length, layers, experts, counts: counts! };
}

/** Dense layers would count as balanced. */
function withoutIdleLayers(trace: LoadTrace): LoadTrace {
  const { minutes, layers, experts, counts } = trace;
  const active: number[] = [];
  for (let layer = 0; layer < layers; layer++) {
    let used = false;
    for (let minute = 0; minute < minutes && !used; minute++) {
      const first = (minute * layers + layer) * experts;
      used = counts.subarray(first, first + experts).some((count) => count > 0);
    }
    if (used) active.push(layer);
  }
  if (active.length === layers) return trace;
  if (active.length === 0)
    throw badTrace('expected tokens, got zeros in all layers', 'record while requests are served');
  const kept = new Float64Array(minutes * active.length * experts);
  for (let minute = 0; minute < minutes; minute++) {
    for (const [i, layer] of active.entries()) {
      const first = (minute * layers + layer) * experts;
      kept.set(counts.subarray(first, first + experts), (minute * active.length + i) * experts);
    }
  }
  return { minutes, layers: active.length, experts, counts: kept };
}

function checkCount(count: number): void {
  if (count > MAX_COUNTS)
    throw badTrace(`expected at most ${MAX_COUNTS} counts, got ${count}`, 'replay less at a time');
}

function badTrace(message: string, remedy: string, cause?: unknown): CliError {
  return new CliError({ code: 'cli/bad-trace', message, remedy, cause });
}
