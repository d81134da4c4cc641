import { Fp8Error } from './errors.js';
import { type Codes, checkCodesWidth, type FormatName, type FormatSpec, formatSpec } from './format-spec.js';

/**
 * How scales are stored: float32, float32 rounded up to a power of two (UE8M0 values in float32), or the same with
 * their E8M0 codes in `scaleCodes`.
 */
export type ScaleFormat = 'f32' | 'powerOfTwo' | 'e8m0fnu';

/**
 * A fine-grained quantisation scheme of a row-major `[rows, cols]` tensor.
 *
 * - `tensor`, `row`: one scale for all, or one a row; scale = amax / max.
 * - `tile`: one scale a tile, default `[1, 128]`. DeepSeek-V3: `[1, 128]` for activations, `[128, 128]` for weights;
 *   scale = max(amax, amaxFloor) / max in float32. `order` is what happens to the element: x / scale
 *   (DeepSeek's kernel.py, default) or x * (1 / scale) (DeepGEMM), which differ. `amaxFloor` defaults to 1e-4 for
 *   one-row tiles, else 0.
 * - `mx`: OCP MX, one E8M0 scale for 1x32. `floor`: 2^(floor(log2 amax) - emax), the suggestion of OCP MX v1.0, which
 *   saturates the top of a binade; `ceil`: 2^ceil(log2(amax / max)), which does not.
 * - `nvfp4`: E2M1 elements, one E4M3 scale for 1x16, one float32 scale for the tensor.
 */
export type Scheme =
  | { readonly kind: 'tensor' | 'row'; readonly format?: FormatName; readonly scale?: ScaleFormat }
  | {
      readonly kind: 'tile';
      readonly tile?: [rows: number, cols: number];
      readonly format?: FormatName;
      readonly scale?: ScaleFormat;
      readonly order?: 'divide' | 'reciprocal';
      readonly amaxFloor?: number;
    }
  | { readonly kind: 'mx'; readonly format: FormatName; readonly rule: 'floor' | 'ceil' }
  | { readonly kind: 'nvfp4' };

/** A quantised matrix; value = decode(code) * scale of its tile, in float32. */
export interface QuantizedTensor {
  /** Row-major `[rows, cols]`. */
  shape: [number, number];
  scheme: Scheme;
  /** `[rows, cols]`, one code per element, sub-byte formats included (see `packNibbles`). */
  codes: Codes;
  /** `[ceil(rows / tile rows), ceil(cols / tile cols)]`. */
  scales: Float32Array;
  /** Codes of the scales: E8M0, or E4M3 for `nvfp4`, where a scale is its decoded code times `globalScale`. */
  scaleCodes?: Uint8Array;
  /** `nvfp4`: scale of the whole tensor. */
  globalScale?: number;
}

/** Geometry of a scheme over a shape. */
export interface SchemeLayout {
  readonly spec: FormatSpec;
  readonly rows: number;
  readonly cols: number;
  /** Rows and columns under one scale; at least 1. */
  readonly tileRows: number;
  readonly tileCols: number;
  readonly blockRows: number;
  readonly blockCols: number;
}

const SCALE_FORMATS: readonly string[] = ['f32', 'powerOfTwo', 'e8m0fnu'];

/**
 * Validates `scheme` and `shape` and lays the tiles out.
 *
 * @throws {@link Fp8Error}
 */
export function schemeLayout(shape: readonly [number, number], scheme: Scheme): SchemeLayout {
  const [rows, cols] = shape;
  if (shape.length !== 2 || !isSize(rows) || !isSize(cols) || !Number.isSafeInteger(rows * cols)) {
    throw invalid('bad-shape', 'shape as [rows, cols]', shape, 'flatten leading dimensions into rows');
  }
  const [tileRows, tileCols] = tileOf(shape, scheme);
  if (!isSize(tileRows) || !isSize(tileCols) || tileRows < 1 || tileCols < 1) {
    const seen = [tileRows, tileCols];
    throw invalid('bad-scheme', 'tile as two positive integers', seen, 'use [1, 128] or [128, 128]');
  }
  const spec = formatSpec(scheme.kind === 'nvfp4' ? 'e2m1fn' : (scheme.format ?? 'e4m3fn'));
  if (spec.special === 'scale') {
    throw invalid('bad-scheme', 'a signed element format', spec.name, 'use e8m0fnu for scales only');
  }
  if ('scale' in scheme && scheme.scale !== undefined && !SCALE_FORMATS.includes(scheme.scale)) {
    throw invalid('bad-scheme', `scale as ${SCALE_FORMATS.join(', ')}`, scheme.scale, 'choose one of them');
  }
  if (scheme.kind === 'tile') {
    const { order = 'divide', amaxFloor = 0 } = scheme;
    if (order !== 'divide' && order !== 'reciprocal') {
      throw invalid('bad-scheme', 'order as divide or reciprocal', order, 'choose one of them');
    }
    if (!(amaxFloor >= 0 && amaxFloor < 2 ** 127)) {
      throw invalid('bad-scheme', 'a finite amaxFloor of at least 0', amaxFloor, 'use 1e-4 or 0');
    }
  }
  if (scheme.kind === 'mx' && scheme.rule !== 'floor' && scheme.rule !== 'ceil') {
    throw invalid('bad-scheme', 'rule as floor or ceil', scheme.rule, 'choose one of them');
  }
  const blockRows = Math.ceil(rows / tileRows);
  const blockCols = Math.ceil(cols / tileCols);
  return { spec, rows, cols, tileRows, tileCols, blockRows, blockCols };
}

function tileOf([rows, cols]: readonly [number, number], scheme: Scheme): readonly [number, number] {
  switch (scheme.kind) {
    case 'tensor':
      return [Math.max(rows, 1), Math.max(cols, 1)];
    case 'row':
      return [1, Math.max(cols, 1)];
    case 'tile':
      return scheme.tile ?? [1, 128];
    case 'mx':
      return [1, 32];
    case 'nvfp4':
      return [1, 16];
    default:
      throw invalid(
        'bad-scheme',
        'kind as tensor, row, tile, mx or nvfp4',
        (scheme as { kind: unknown }).kind,
        'choose one of them',
      );
  }
}

/**
 * Validates a quantised tensor that a caller passed in.
 *
 * @throws {@link Fp8Error}
 */
export function quantizedLayout(q: QuantizedTensor, what: string): SchemeLayout {
  const layout = schemeLayout(q.shape, q.scheme);
  checkCodesWidth(layout.spec, q.codes, `${what}.codes`);
  const elements = layout.rows * layout.cols;
  if (q.codes.length !== elements) {
    const message = `${elements} codes in ${what} of shape [${q.shape.join(', ')}]`;
    throw invalid('bad-shape', message, q.codes.length, 'pass codes of the whole tensor');
  }
  const scales = layout.blockRows * layout.blockCols;
  if (!(q.scales instanceof Float32Array) || q.scales.length !== scales) {
    const message = `[${layout.blockRows}, ${layout.blockCols}] float32 scales in ${what}`;
    throw invalid('bad-shape', message, q.scales?.length, 'pass one scale per tile, ragged tiles included');
  }
  return layout;
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Error of an operand or option that does not fit: `expected ..., got ...`. */
export function invalid(code: string, expected: string, value: unknown, remedy: string): Fp8Error {
  const seen = Array.isArray(value) ? `[${value.slice(0, 8).join(', ')}]` : String(value);
  return new Fp8Error({ code: `fp8/${code}`, message: `expected ${expected}, got ${seen}`, value, remedy });
}
