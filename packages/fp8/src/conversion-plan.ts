import { type ScaleLayout, scaleLayout } from './checkpoint-scales.js';
import { CheckpointError, Fp8Error, quoted } from './errors.js';
import { type Checkpoint, SCALE_SUFFIX, type TensorInfo } from './safetensors-checkpoint.js';
import type { SafetensorsDtype } from './safetensors-dtype.js';
import { layoutSafetensors, type SafetensorsLayout, type TensorDescription } from './safetensors-writer.js';

/** What a checkpoint can be converted to. */
export type ConversionTarget = 'bf16' | 'f16' | 'f32' | 'fp8-block';

/** Rows and columns under one scale in a converted FP8 checkpoint, as in DeepSeek-V3. */
export const TARGET_BLOCK: readonly [rows: number, cols: number] = Object.freeze([128, 128] as const);

/** Most scales of one weight held in memory: 64 MiB, a weight of 2^38 elements in 128x128 blocks. */
const MAX_SCALES = 2 ** 24;

const TARGET_DTYPES: { readonly [T in ConversionTarget]: SafetensorsDtype } = Object.freeze({
  bf16: 'BF16',
  f16: 'F16',
  f32: 'F32',
  'fp8-block': 'F8_E4M3',
});
const WIDE_DTYPES: ReadonlySet<SafetensorsDtype> = new Set(['F64', 'F32', 'BF16', 'F16'] as const);
const FP8_DTYPES: ReadonlySet<SafetensorsDtype> = new Set([
  'F8_E4M3',
  'F8_E5M2',
  'F8_E4M3FNUZ',
  'F8_E5M2FNUZ',
] as const);

/** One tensor of the result and how it comes about. `scales` are written by the `quantize` of their weight. */
export interface PlannedTensor extends TensorDescription {
  readonly action: 'copy' | 'convert' | 'quantize' | 'scales';
  /** Scales of the source tensor. */
  readonly scaling?: ScaleLayout;
}

/** One file of the result. */
export interface PlannedShard {
  readonly file: string;
  readonly tensors: readonly PlannedTensor[];
  readonly layout: SafetensorsLayout;
}

/** Whether `target` is a {@link ConversionTarget}. */
export function isConversionTarget(target: unknown): target is ConversionTarget {
  return typeof target === 'string' && Object.hasOwn(TARGET_DTYPES, target);
}

/**
 * Decides for every tensor what becomes of it; one shard of the result for each of the source that keeps a tensor.
 *
 * @throws {@link CheckpointError} for missing, stray or mismatched scales.
 */
export function planConversion(checkpoint: Checkpoint, target: ConversionTarget): PlannedShard[] {
  const shards = new Map<string, PlannedTensor[]>();
  for (const name of checkpoint.names()) {
    const info = checkpoint.info(name);
    const planned = planTensor(checkpoint, name, info, target);
    if (planned.length === 0) continue;
    const shard = shards.get(info.file) ?? [];
    shard.push(...planned);
    shards.set(info.file, shard);
  }
  if (shards.size === 0) {
    throw new Fp8Error({
      code: 'fp8/no-tensors',
      message: 'the checkpoint holds no tensors to convert',
      remedy: 'check that from names the right folder',
    });
  }
  return [...shards].map(([file, tensors]) => ({ file, tensors, layout: layoutSafetensors(tensors) }));
}

function planTensor(
  checkpoint: Checkpoint,
  name: string,
  info: TensorInfo,
  target: ConversionTarget,
): PlannedTensor[] {
  const { dtype, shape } = info;
  const owner = scaledBy(checkpoint, name);
  if (owner !== undefined) {
    // Scales stay only beside codes that stay.
    return keepsCodes(checkpoint, owner, target) ? [{ name, dtype, shape, action: 'copy' }] : [];
  }
  const scaling = scalingOf(checkpoint, name, info);
  const source = scaling === undefined ? {} : { scaling };
  if (target !== 'fp8-block') {
    if (dtype === TARGET_DTYPES[target] || keepsDtype(name, info))
      return [{ name, dtype, shape, action: 'copy' }];
    return [{ name, dtype: TARGET_DTYPES[target], shape, action: 'convert', ...source }];
  }
  if (keepsCodes(checkpoint, name, target)) return [{ name, dtype, shape, action: 'copy' }];
  const numeric = WIDE_DTYPES.has(dtype) || FP8_DTYPES.has(dtype);
  if (numeric && shape.length === 2 && info.bytes > 0 && (isProjection(name) || scaling !== undefined)) {
    return planQuantized(checkpoint, name, info, source);
  }
  if (FP8_DTYPES.has(dtype)) return [{ name, dtype: 'BF16', shape, action: 'convert', ...source }];
  return [{ name, dtype, shape, action: 'copy' }];
}

function planQuantized(
  checkpoint: Checkpoint,
  name: string,
  info: TensorInfo,
  source: Pick<PlannedTensor, 'scaling'>,
): PlannedTensor[] {
  const scales = name + SCALE_SUFFIX;
  if (source.scaling === undefined && checkpoint.has(scales)) {
    throw new CheckpointError(checkpoint.info(scales).file, {
      code: 'fp8/stray-scale',
      message: `${quoted(scales)} exists, but ${quoted(name)} is ${info.dtype} and needs none`,
      value: scales,
      remedy: 'remove the scale tensor: it would be taken for that of the converted weight',
    });
  }
  const [rows, cols] = info.shape as [number, number];
  const blocks = [Math.ceil(rows / TARGET_BLOCK[0]), Math.ceil(cols / TARGET_BLOCK[1])];
  return [
    { name, dtype: 'F8_E4M3', shape: info.shape, action: 'quantize', ...source },
    { name: scales, dtype: 'F32', shape: blocks, action: 'scales' },
  ];
}

/** Name of the FP8 weight whose scales `name` holds. */
function scaledBy(checkpoint: Checkpoint, name: string): string | undefined {
  if (!name.endsWith(SCALE_SUFFIX)) return undefined;
  const owner = name.slice(0, -SCALE_SUFFIX.length);
  return checkpoint.has(owner) && FP8_DTYPES.has(checkpoint.info(owner).dtype) ? owner : undefined;
}

/** Whether an FP8 weight is already what `fp8-block` asks for: E4M3 with float32 scales of 128x128 blocks. */
function keepsCodes(checkpoint: Checkpoint, name: string, target: ConversionTarget): boolean {
  const info = checkpoint.info(name);
  if (target !== 'fp8-block' || info.dtype !== 'F8_E4M3' || info.shape.length !== 2) return false;
  const scaling = scalingOf(checkpoint, name, info);
  if (scaling === undefined) return false;
  const scale = checkpoint.info(name + SCALE_SUFFIX);
  const [rows, cols] = info.shape as [number, number];
  const single = scaling.blockRows * scaling.blockCols === 1;
  const sameBlocks = single
    ? rows <= TARGET_BLOCK[0] && cols <= TARGET_BLOCK[1] && scale.shape.length === 2
    : scaling.block[0] === TARGET_BLOCK[0] && scaling.block[1] === TARGET_BLOCK[1];
  return scale.dtype === 'F32' && sameBlocks;
}

function scalingOf(checkpoint: Checkpoint, name: string, info: TensorInfo): ScaleLayout | undefined {
  const scaleName = name + SCALE_SUFFIX;
  const scale = checkpoint.has(scaleName) ? { ...checkpoint.info(scaleName), offset: 0 } : undefined;
  const layout = scaleLayout(name, { ...info, offset: 0 }, scale, checkpoint.quantization);
  if (layout !== undefined && layout.blockRows * layout.blockCols > MAX_SCALES) {
    throw new CheckpointError(info.file, {
      code: 'fp8/too-many-scales',
      message: `expected at most ${MAX_SCALES} scales for ${quoted(name)}, got ${layout.blockRows}x${layout.blockCols}`,
      value: [layout.blockRows, layout.blockCols],
      remedy: 'check weight_block_size in config.json',
    });
  }
  return layout;
}

/** Integers and packed types have no target; the router's selection bias is kept at its precision, as DeepSeek does. */
function keepsDtype(name: string, info: TensorInfo): boolean {
  const numeric = WIDE_DTYPES.has(info.dtype) || FP8_DTYPES.has(info.dtype);
  return !numeric || (WIDE_DTYPES.has(info.dtype) && name.endsWith('e_score_correction_bias'));
}

/**
 * The weights that DeepSeek-V3's published checkpoints quantise: attention and expert projections, not the
 * multi-token-prediction input projection `eh_proj`, embeddings, head, norms, router.
 */
function isProjection(name: string): boolean {
  return /_proj(_with_mqa)?\.weight$/.test(name) && !/(^|\.)eh_proj\.weight$/.test(name);
}
