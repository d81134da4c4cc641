import type { TensorInspection } from '@moestack/schemas';
import { type ScaleLayout, scaleLayout } from './checkpoint-scales.js';
import { CheckpointError, Fp8Error } from './errors.js';
import { type FormatName, type FormatSpec, formats } from './format-spec.js';
import { CodeAccumulator, narrowFormat, unpackCodes } from './inspect-codes.js';
import { ErrorAccumulator, relativeError } from './inspect-error.js';
import { ScaleAccumulator } from './inspect-scales.js';
import { isWideDtype, narrowCounts, ValueAccumulator } from './inspect-values.js';
import { dequantize, quantize } from './quantize.js';
import { type Checkpoint, SCALE_SUFFIX, type TensorInfo } from './safetensors-checkpoint.js';
import { dtypeBits, type SafetensorsDtype } from './safetensors-dtype.js';
import type { Scheme } from './scheme.js';
import { ValueReader } from './value-reader.js';

/** Elements in memory at a time. */
const CHUNK_ELEMENTS = 2 ** 20;

/** The scheme of {@link TensorInspection} `quantized`. */
export type InspectionScheme = Required<
  Pick<Extract<Scheme, { kind: 'tile' }>, 'kind' | 'format' | 'tile' | 'scale'>
>;

/** What is the same for all tensors of an inspection. */
export interface InspectionContext {
  readonly checkpoint: Checkpoint;
  readonly original: Checkpoint | undefined;
  readonly scheme: InspectionScheme;
  /** Called after every piece with its stored bytes; may throw to stop. */
  readonly advance: (bytes: number) => void;
}

/** Reads one tensor once, piece by piece, and reports its numerics. */
export async function inspectTensor(context: InspectionContext, name: string): Promise<TensorInspection> {
  const { checkpoint } = context;
  const { dtype: storedDtype, shape, bytes, file } = checkpoint.info(name);
  const dtype = storedDtype as SafetensorsDtype;
  const elements = (bytes * 8) / dtypeBits[dtype];
  const result: TensorInspection = { name, file, dtype, shape, elements, bytes };
  const spec = narrowFormat(dtype);
  if (spec === undefined && !isWideDtype(dtype)) {
    context.advance(bytes);
    return { ...result, note: `${dtype} has no rounding error to look at` };
  }
  if (elements === 0) return { ...result, note: 'the tensor is empty' };
  const notes: string[] = [];
  const layout = layoutOf(checkpoint, name, notes);
  const reader = await ValueReader.open(checkpoint, name, layout);
  const original = await openOriginal(context.original, name, shape, notes);
  const scan = new TensorScan(context, reader, original, spec);
  if (spec === undefined && shape.length >= 2) await scan.strips(shape);
  else await scan.chunks(elements);
  Object.assign(result, scan.finish(name));
  return notes.length === 0 ? result : { ...result, note: notes.join('; ') };
}

/** An inspection says what is wrong with scales instead of stopping there. */
function layoutOf(checkpoint: Checkpoint, name: string, notes: string[]): ScaleLayout | undefined {
  const scaleName = name + SCALE_SUFFIX;
  const info = { ...checkpoint.info(name), offset: 0 };
  const scale = checkpoint.has(scaleName) ? { ...checkpoint.info(scaleName), offset: 0 } : undefined;
  try {
    return scaleLayout(name, info, scale, checkpoint.quantization);
  } catch (error) {
    if (!CheckpointError.isInstance(error)) throw error;
    notes.push(`scales not applied: ${error.message}`);
    return undefined;
  }
}

async function openOriginal(
  original: Checkpoint | undefined,
  name: string,
  shape: readonly number[],
  notes: string[],
): Promise<ValueReader | undefined> {
  if (original === undefined) return undefined;
  if (!original.has(name)) {
    notes.push('the original has no such tensor');
    return undefined;
  }
  const info: TensorInfo = original.info(name);
  if (info.shape.join() !== shape.join()) {
    notes.push(`the original has shape [${info.shape.join(', ')}]`);
    return undefined;
  }
  const dtype = info.dtype as SafetensorsDtype;
  if (dtype === 'F4' || (narrowFormat(dtype) === undefined && !isWideDtype(dtype))) {
    notes.push(`the original is ${dtype}`);
    return undefined;
  }
  return ValueReader.open(original, name, layoutOf(original, name, notes));
}

/** One pass over the values of a tensor, and over those of its original beside them. */
class TensorScan {
  private readonly context: InspectionContext;
  private readonly reader: ValueReader;
  private readonly original: ValueReader | undefined;
  private readonly values: ValueAccumulator;
  private readonly codes: CodeAccumulator | undefined;
  private readonly against: ErrorAccumulator;
  private quantized: { error: ErrorAccumulator; scales: ScaleAccumulator; counts: Float64Array } | undefined;
  private originals = new Float32Array(0);
  private decoded = new Float32Array(0);

  constructor(
    context: InspectionContext,
    reader: ValueReader,
    original: ValueReader | undefined,
    spec: FormatSpec | undefined,
  ) {
    this.context = context;
    this.reader = reader;
    this.original = original;
    this.values = new ValueAccumulator(reader.dtype);
    this.codes = spec === undefined ? undefined : new CodeAccumulator(spec);
    this.against = new ErrorAccumulator(spec ?? wideFormat(reader.dtype));
  }

  /** Reads in the order of the file. */
  async chunks(elements: number): Promise<void> {
    const buffer = new Float32Array(Math.min(elements, CHUNK_ELEMENTS));
    for (let first = 0; first < elements; first += buffer.length) {
      const values = buffer.subarray(0, Math.min(buffer.length, elements - first));
      const codes = await this.piece(first, values);
      await this.compare(first, values, codes);
      this.context.advance((values.length * dtypeBits[this.reader.dtype]) / 8);
    }
  }

  /** Reads whole tiles: strips of rows, and of very wide matrices panels of columns. */
  async strips(shape: readonly number[]): Promise<void> {
    const { scheme } = this.context;
    const [tileRows, tileCols] = scheme.tile;
    this.quantized = {
      error: new ErrorAccumulator(formats[scheme.format]),
      scales: new ScaleAccumulator(scheme.tile),
      counts: new Float64Array(2 ** formats[scheme.format].bits),
    };
    const [matrices, rows, cols] = matricesOf(shape, tileRows);
    const stripRows = Math.min(rows, tileRows * Math.max(1, Math.floor(CHUNK_ELEMENTS / tileRows / cols)));
    const panelCols = Math.min(
      cols,
      tileCols * Math.max(1, Math.floor(CHUNK_ELEMENTS / stripRows / tileCols)),
    );
    const buffer = new Float32Array(stripRows * panelCols);
    for (let matrix = 0; matrix < matrices; matrix++) {
      for (let row = 0; row < rows; row += stripRows) {
        const height = Math.min(stripRows, rows - row);
        for (let col = 0; col < cols; col += panelCols) {
          const width = Math.min(panelCols, cols - col);
          const values = buffer.subarray(0, height * width);
          await this.panel((matrix * rows + row) * cols + col, values, height, width, cols);
          this.requantize(values, height, width, scheme);
          this.context.advance((values.length * dtypeBits[this.reader.dtype]) / 8);
        }
      }
    }
  }

  finish(name: string): Partial<TensorInspection> {
    const { codes, quantized, reader } = this;
    const values = this.values.finish(codes && narrowCounts(codes.spec, codes.counts));
    const result: Partial<TensorInspection> = { values };
    if (codes !== undefined) {
      result.codes = codes.finish();
      result.expectedError = relativeError(codes.expectedSquaredError, this.values.sumOfSquares);
    }
    if (reader.layout !== undefined) {
      const { block } = reader.layout;
      const scales = new ScaleAccumulator(block);
      scales.add(reader.scales);
      const scaleName = name + SCALE_SUFFIX;
      const { dtype } = this.context.checkpoint.info(scaleName);
      result.scales = { name: scaleName, dtype, ...scales.finish() };
    }
    if (quantized !== undefined) {
      const spec = formats[this.context.scheme.format];
      const narrow = narrowCounts(spec, quantized.counts);
      result.quantized = { ...quantized.error.finish(), ...narrow, scales: quantized.scales.finish() };
    }
    if (this.original !== undefined) result.against = this.against.finish();
    return result;
  }

  /** Reads a run of values; returns their codes where the type has some. */
  private async piece(first: number, values: Float32Array): Promise<Uint8Array | undefined> {
    const raw = await this.reader.read(first, values);
    this.values.add(values);
    if (this.codes === undefined) return undefined;
    const codes = this.reader.dtype === 'F4' ? unpackCodes(raw, values.length) : raw;
    this.codes.add(codes, first, this.reader.layout, this.reader.scales);
    return codes;
  }

  private async panel(
    first: number,
    values: Float32Array,
    height: number,
    width: number,
    cols: number,
  ): Promise<void> {
    // Whole rows lie one after the other.
    const runs = width === cols ? 1 : height;
    const length = values.length / runs;
    for (let run = 0; run < runs; run++) {
      const part = values.subarray(run * length, (run + 1) * length);
      await this.piece(first + run * cols, part);
      await this.compare(first + run * cols, part, undefined);
    }
  }

  private async compare(first: number, values: Float32Array, codes: Uint8Array | undefined): Promise<void> {
    if (this.original === undefined) return;
    if (this.originals.length < values.length) this.originals = new Float32Array(values.length);
    const originals = this.originals.subarray(0, values.length);
    await this.original.read(first, originals);
    this.against.add(originals, values, codes);
  }

  private requantize(values: Float32Array, height: number, width: number, scheme: InspectionScheme): void {
    const { error, scales, counts } = this.quantized!;
    const q = quantize(values, [height, width], scheme);
    if (this.decoded.length < values.length) this.decoded = new Float32Array(values.length);
    const decoded = dequantize(q, { out: this.decoded.subarray(0, values.length) });
    const { codes } = q;
    for (let i = 0; i < codes.length; i++) counts[codes[i]!] = counts[codes[i]!]! + 1;
    error.add(values, decoded, codes);
    scales.add(q.scales);
  }
}

/** Stacked experts are matrices; other kernels have one row for each output. */
function matricesOf(
  shape: readonly number[],
  tileRows: number,
): [matrices: number, rows: number, cols: number] {
  const [first, second, third] = shape as [number, number, number?];
  if (third === undefined || shape.length > 3) {
    return [1, first, shape.slice(1).reduce((product, dimension) => product * dimension, 1)];
  }
  // No tile crosses from one matrix into the next: they are as good as one.
  return second % tileRows === 0 ? [1, first * second, third] : [first, second, third];
}

function wideFormat(dtype: SafetensorsDtype): FormatSpec {
  if (dtype === 'F16') return formats.f16;
  return formats.bf16;
}

/** Checks and completes a scheme; bounds what a tile needs in memory. */
export function inspectionScheme(options: {
  readonly format?: FormatName;
  readonly tile?: readonly [rows: number, cols: number];
  readonly scale?: 'f32' | 'powerOfTwo';
}): InspectionScheme {
  const { format = 'e4m3fn', tile = [128, 128], scale = 'f32' } = options;
  const isSize = (size: unknown): boolean => Number.isInteger(size) && (size as number) >= 1;
  if (
    !Array.isArray(tile) ||
    tile.length !== 2 ||
    !tile.every(isSize) ||
    tile[0]! * tile[1]! > CHUNK_ELEMENTS
  ) {
    throw new Fp8Error({
      code: 'fp8/bad-scheme',
      message: `expected tile as two positive whole numbers with a product of at most ${CHUNK_ELEMENTS}, got ${String(tile)}`,
      value: tile,
      remedy: 'use [128, 128] for weights, [1, 128] for activations',
    });
  }
  const scheme: InspectionScheme = { kind: 'tile', format, tile: [tile[0]!, tile[1]!], scale };
  quantize(new Float32Array(1), [1, 1], scheme);
  return scheme;
}
