import { CheckpointError, quoted } from './errors.js';
import { JsonScanner } from './json-scanner.js';
import { dtypeBits, isSafetensorsDtype, type SafetensorsDtype } from './safetensors-dtype.js';

/** Longest header accepted, as in the reference implementation of the format. */
export const MAX_HEADER_BYTES = 100_000_000;
/** Most tensors accepted in one file (DeepSeek-V3 has about 92,000 over 163 files). */
export const MAX_TENSORS_PER_FILE = 500_000;
/** Most dimensions accepted in a shape. */
export const MAX_TENSOR_DIMENSIONS = 64;
/** Most entries accepted in `__metadata__`. */
const MAX_METADATA_ENTRIES = 10_000;
/** Length prefix before the header: an unsigned 64-bit little-endian integer. */
export const HEADER_PREFIX_BYTES = 8;

/** One tensor as its file's header describes it. */
export interface TensorEntry {
  readonly dtype: SafetensorsDtype;
  /** Row-major dimensions; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** First byte of the data, counted from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** A validated safetensors header. */
export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  /** First byte after the header. */
  readonly dataStart: number;
}

/**
 * Length of the header from the first 8 bytes of a file.
 *
 * @param file - name for messages.
 * @param prefix - the first 8 bytes.
 * @param fileSize - bytes of the whole file.
 * @throws {@link CheckpointError} when it does not fit the file or {@link MAX_HEADER_BYTES}.
 */
export function readHeaderLength(file: string, prefix: Uint8Array, fileSize: number): number {
  if (fileSize < HEADER_PREFIX_BYTES || prefix.length < HEADER_PREFIX_BYTES) {
    throw damaged(file, 'fp8/truncated-file', `expected at least 8 bytes, got ${fileSize}`, fileSize);
  }
  const view = new DataView(prefix.buffer, prefix.byteOffset, HEADER_PREFIX_BYTES);
  const length = view.getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    const message = `expected a header of at most ${MAX_HEADER_BYTES} bytes, got ${length}`;
    throw damaged(file, 'fp8/header-too-long', message, String(length));
  }
  if (Number(length) > fileSize - HEADER_PREFIX_BYTES) {
    const message = `expected a header of ${length} bytes, but the file has ${fileSize} bytes`;
    throw damaged(file, 'fp8/truncated-file', message, fileSize);
  }
  return Number(length);
}

/**
 * Parses and validates a header: known dtypes, bounded shapes whose byte counts equal their offsets, offsets that
 * cover the data without gap or overlap up to the last byte, no duplicate names.
 *
 * @param file - name for messages.
 * @param json - the header without its length prefix.
 * @param fileSize - bytes of the whole file.
 * @throws {@link CheckpointError} when anything is off.
 */
export function parseSafetensorsHeader(file: string, json: Uint8Array, fileSize: number): SafetensorsHeader {
  if (json[0] !== 0x7b) {
    throw damaged(file, 'fp8/bad-json', 'expected the header to start with "{"', json[0]);
  }
  const scanner = new JsonScanner(file, json);
  const dataStart = HEADER_PREFIX_BYTES + json.length;
  const tensors = new Map<string, TensorEntry>();
  let metadata: Map<string, string> | undefined;
  scanner.object((name) => {
    if (name === '__metadata__') {
      if (metadata !== undefined) throw scanner.duplicate(name);
      metadata = readMetadata(scanner);
      return;
    }
    if (tensors.has(name)) throw scanner.duplicate(name);
    if (tensors.size >= MAX_TENSORS_PER_FILE) {
      throw scanner.fail(`expected at most ${MAX_TENSORS_PER_FILE} tensors`);
    }
    tensors.set(name, readEntry(file, name, scanner, dataStart));
  });
  scanner.end();
  checkCoverage(file, tensors, dataStart, fileSize);
  return { tensors, metadata: metadata ?? new Map(), dataStart };
}

function readMetadata(scanner: JsonScanner): Map<string, string> {
  const metadata = new Map<string, string>();
  scanner.object((key) => {
    if (metadata.has(key)) throw scanner.duplicate(key);
    if (metadata.size >= MAX_METADATA_ENTRIES) {
      throw scanner.fail(`expected at most ${MAX_METADATA_ENTRIES} metadata entries`);
    }
    metadata.set(key, scanner.string());
  });
  return metadata;
}

function readEntry(file: string, name: string, scanner: JsonScanner, dataStart: number): TensorEntry {
  let dtype: SafetensorsDtype | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  scanner.object((key) => {
    if (key === 'dtype') {
      if (dtype !== undefined) throw scanner.duplicate(key);
      const text = scanner.string();
      if (!isSafetensorsDtype(text)) {
        const known = Object.keys(dtypeBits).join(', ');
        throw new CheckpointError(file, {
          code: 'fp8/unknown-dtype',
          message: `tensor ${quoted(name)}: unknown dtype ${quoted(text)}`,
          value: text,
          remedy: `convert the tensor to one of ${known}`,
        });
      }
      dtype = text;
    } else if (key === 'shape') {
      if (shape !== undefined) throw scanner.duplicate(key);
      shape = readIntegers(scanner, 'a dimension', MAX_TENSOR_DIMENSIONS);
    } else if (key === 'data_offsets') {
      if (offsets !== undefined) throw scanner.duplicate(key);
      offsets = readIntegers(scanner, 'an offset', 2);
    } else scanner.skipValue();
  });
  if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
    throw scanner.fail(`tensor ${quoted(name)}: expected dtype, shape and two data_offsets`);
  }
  const [begin, end] = offsets as [number, number];
  const bytes = tensorBytes(dtype, shape);
  if (end < begin || bytes !== end - begin) {
    const wanted = `${dtype} [${shape.join(', ')}] takes ${bytes ?? 'a fraction of or too many'} bytes`;
    const message = `tensor ${quoted(name)}: ${wanted}, but data_offsets are [${begin}, ${end}]`;
    throw damaged(file, 'fp8/bad-tensor-size', message, [begin, end]);
  }
  return { dtype, shape: Object.freeze(shape), offset: dataStart + begin, bytes };
}

function readIntegers(scanner: JsonScanner, what: string, limit: number): number[] {
  const values: number[] = [];
  scanner.array(() => {
    if (values.length >= limit) throw scanner.fail(`expected at most ${limit} entries`);
    values.push(scanner.integer(what));
  });
  return values;
}

/** Bytes of a tensor; undefined when they are no whole number or not exact in a double. */
export function tensorBytes(dtype: SafetensorsDtype, shape: readonly number[]): number | undefined {
  let elements = 1;
  // A zero dimension makes the tensor empty however large the others are.
  if (shape.includes(0)) return 0;
  for (const dimension of shape) {
    elements *= dimension;
    if (!Number.isSafeInteger(elements)) return undefined;
  }
  const bits = elements * dtypeBits[dtype];
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined;
}

/** Elements of a tensor; exact also where a zero dimension stands beside huge ones. */
export function elementCount(entry: TensorEntry): number {
  return (entry.bytes * 8) / dtypeBits[entry.dtype];
}

function checkCoverage(
  file: string,
  tensors: ReadonlyMap<string, TensorEntry>,
  dataStart: number,
  fileSize: number,
): void {
  const sorted = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  let position = dataStart;
  for (const [name, entry] of sorted) {
    if (entry.offset !== position) {
      const kind = entry.offset < position ? 'overlap' : 'leave a gap before';
      const message = `tensor ${quoted(name)}: offsets ${kind} byte ${position - dataStart} of the data`;
      throw damaged(file, 'fp8/bad-offsets', message, entry.offset - dataStart);
    }
    position += entry.bytes;
  }
  if (position === fileSize) return;
  const code = position > fileSize ? 'fp8/truncated-file' : 'fp8/bad-offsets';
  const message = `expected a file of ${position} bytes by its header, got ${fileSize}`;
  throw damaged(file, code, message, fileSize);
}

function damaged(file: string, code: string, message: string, value: unknown): CheckpointError {
  return new CheckpointError(file, {
    code,
    message,
    value,
    remedy: 'the file is damaged, truncated or not safetensors: fetch it again',
  });
}
