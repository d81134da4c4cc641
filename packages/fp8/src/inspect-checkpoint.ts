import type { CheckpointInspection, TensorInspection } from '@moestack/schemas';
import { AbortedError } from '@moestack/schemas/errors';
import type { FormatName } from './format-spec.js';
import { inspectionScheme, inspectTensor } from './inspect-tensor.js';
import { type Checkpoint, SCALE_SUFFIX } from './safetensors-checkpoint.js';

/** What to look at, and how, for {@link inspectCheckpoint}. */
export interface InspectSettings {
  /** Format that tensors of more than 8 bits would be quantised to; default `e4m3fn`. */
  readonly format?: FormatName;
  /** Rows and columns under one scale of that; default `[128, 128]`. */
  readonly tile?: readonly [rows: number, cols: number];
  /** Its scales; default `f32`. */
  readonly scale?: 'f32' | 'powerOfTwo';
  /** Which tensors; default all. */
  readonly include?: (name: string) => boolean;
  /** Called with each tensor when it is done. */
  readonly onTensor?: (tensor: TensorInspection) => void;
  /** Called after every piece; stored bytes of the tensors looked at. */
  readonly onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
  /** Stops between two pieces. */
  readonly signal?: AbortSignal;
}

/** Options of {@link inspectCheckpoint}. */
export interface InspectOptions extends InspectSettings {
  /** Name of the checkpoint in the report; default `checkpoint`. */
  readonly source?: string;
  /** What the checkpoint was converted from, to measure the error against. */
  readonly original?: Checkpoint;
  /** Its name in the report; default `original`. */
  readonly originalName?: string;
}

/**
 * Reports the numerics of every tensor of a checkpoint: range, subnormals, saturation, distribution of codes and
 * scales; for tensors of more than 8 bits what quantising them in blocks would cost; against an original the error
 * measured. Each tensor is read once, in memory that does not grow with it.
 *
 * Scales are reported with their tensor. Missing or unfit scales are noted, not an error.
 *
 * @throws {@link Fp8Error} for a scheme that does not fit or sources that cannot be read; `AbortedError` when
 * `signal` fires.
 *
 * @example
 * ```ts
 * import { inspectCheckpoint, memorySource, openCheckpoint, serializeSafetensors } from '@moestack/fp8';
 *
 * const data = Float32Array.from({ length: 256 * 256 }, (_, i) => Math.sin(i * i));
 * const file = serializeSafetensors([{ name: 'w', dtype: 'F32', shape: [256, 256], data }]);
 * const checkpoint = await openCheckpoint({ 'model.safetensors': memorySource(file) });
 * const { tensors } = await inspectCheckpoint(checkpoint);
 * console.log(tensors[0]?.quantized?.relativeError); // about 0.02
 * ```
 */
export async function inspectCheckpoint(
  checkpoint: Checkpoint,
  options: InspectOptions = {},
): Promise<CheckpointInspection> {
  const { include = () => true, onProgress, onTensor, original, signal } = options;
  const scheme = inspectionScheme(options);
  const names = checkpoint.names().filter((name) => !isScale(checkpoint, name) && include(name));
  const infos = names.map((name) => checkpoint.info(name));
  const totalBytes = infos.reduce((sum, { bytes }) => sum + bytes, 0);
  let doneBytes = 0;
  const advance = (bytes: number): void => {
    doneBytes += bytes;
    onProgress?.({ doneBytes, totalBytes });
    if (signal?.aborted) throw new AbortedError('inspectCheckpoint', signal.reason);
  };
  advance(0);
  const context = { checkpoint, original, scheme, advance };
  const tensors: TensorInspection[] = [];
  for (const name of names) {
    const tensor = await inspectTensor(context, name);
    tensors.push(tensor);
    onTensor?.(tensor);
  }
  const bytesByDtype: Record<string, number> = {};
  for (const { dtype, bytes } of infos) bytesByDtype[dtype] = (bytesByDtype[dtype] ?? 0) + bytes;
  const { method, block } = checkpoint.quantization;
  return {
    schemaVersion: 1,
    source: options.source ?? 'checkpoint',
    ...(original !== undefined && { original: options.originalName ?? 'original' }),
    quantization: { ...(method !== undefined && { method }), block: [block[0], block[1]] },
    scheme: { format: scheme.format, tile: scheme.tile, scale: scheme.scale },
    totals: {
      tensors: tensors.length,
      elements: tensors.reduce((sum, { elements }) => sum + elements, 0),
      bytes: totalBytes,
      bytesByDtype,
    },
    tensors,
  };
}

function isScale(checkpoint: Checkpoint, name: string): boolean {
  return name.endsWith(SCALE_SUFFIX) && checkpoint.has(name.slice(0, -SCALE_SUFFIX.length));
}
