import { PlacementError } from '../errors.js';

/** Upper bounds on what an engine file may make its reader allocate or do. */
export interface EngineFileLimits {
  /** Bytes of the file, and of everything in it once unpacked; default 4 GiB. */
  readonly maxBytes?: number;
}

/** What readers of engine files never exceed, whatever the file says. */
export const limits = {
  maxBytes: 4_294_967_296,
  /** Files in an archive: a record per forward pass and rank needs one each. */
  zipEntries: 1_048_576,
  /** Length of the pickled structure, without tensor data. */
  pickleBytes: 134_217_728,
  /** Nesting of lists, dicts and tuples that are written. */
  depth: 64,
  dimensions: 8,
  safetensorsHeaderBytes: 33_554_432,
  textBytes: 268_435_456,
  /** YAML takes its parser far longer than JSON; 61 layers of 320 slots are 0.1 MB. */
  yamlBytes: 16_777_216,
  layers: 4096,
  experts: 65_536,
  replicas: 1_048_576,
} as const;

/** @throws {@link PlacementError} `placement/bad-file` when `bytes` is more than the caller allows. */
export function checkFileSize(bytes: number, { maxBytes = limits.maxBytes }: EngineFileLimits): number {
  if (bytes <= maxBytes) return maxBytes;
  throw badFile(`expected at most ${maxBytes} bytes, got ${bytes}`, bytes, 'raise maxBytes, or record less');
}

/** The error of a file that cannot be read. */
export function badFile(message: string, value: unknown, remedy: string, cause?: unknown): PlacementError {
  return new PlacementError({ code: 'placement/bad-file', message, value, remedy, cause });
}
