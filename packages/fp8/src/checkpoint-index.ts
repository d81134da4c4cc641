import { CheckpointError, quoted } from './errors.js';
import { JsonScanner } from './json-scanner.js';
import { MAX_HEADER_BYTES } from './safetensors-header.js';

/** Largest index or config file accepted. */
export const MAX_JSON_FILE_BYTES: number = MAX_HEADER_BYTES;
/** Most tensors accepted in an index. */
const MAX_INDEX_TENSORS = 2_000_000;
/** Most shards accepted in an index. */
const MAX_SHARDS = 10_000;
/** Block size of DeepSeek-V3 checkpoints, used when config.json names none. */
export const DEFAULT_WEIGHT_BLOCK: readonly [rows: number, cols: number] = Object.freeze([128, 128] as const);

/**
 * Parses `model.safetensors.index.json` to a map from tensor name to shard file.
 *
 * Shards must be plain file names beside the index: paths, `..` and other suffixes are rejected, since an index
 * comes with a download and must not point elsewhere.
 *
 * @throws {@link CheckpointError}
 */
export function parseCheckpointIndex(file: string, json: Uint8Array): Map<string, string> {
  const scanner = new JsonScanner(file, json);
  const shards = new Map<string, string>();
  let weightMap: Map<string, string> | undefined;
  scanner.object((key) => {
    if (key !== 'weight_map') {
      scanner.skipValue();
      return;
    }
    if (weightMap !== undefined) throw scanner.duplicate(key);
    const map = new Map<string, string>();
    weightMap = map;
    scanner.object((name) => {
      if (map.has(name)) throw scanner.duplicate(name);
      if (map.size >= MAX_INDEX_TENSORS) throw scanner.fail(`expected at most ${MAX_INDEX_TENSORS} tensors`);
      const shard = scanner.string();
      let shared = shards.get(shard);
      if (shared === undefined) {
        if (shards.size >= MAX_SHARDS) throw scanner.fail(`expected at most ${MAX_SHARDS} shards`);
        checkShardName(file, shard);
        shared = shard;
        shards.set(shard, shard);
      }
      map.set(name, shared);
    });
  });
  scanner.end();
  if (weightMap === undefined) throw scanner.fail('expected a weight_map');
  return weightMap;
}

function checkShardName(file: string, shard: string): void {
  // No separator, drive or NUL; a leading dot would allow ".." and hidden files.
  const plain = /^[^./\\:][^/\\:]*\.safetensors$/.test(shard) && !shard.includes('\0');
  if (plain && shard.length <= 255) return;
  throw new CheckpointError(file, {
    code: 'fp8/bad-shard-name',
    message: `expected shards as plain *.safetensors file names beside the index, got ${quoted(shard)}`,
    value: shard.slice(0, 255),
    remedy: 'do not load this checkpoint: its index points outside its folder or is damaged',
  });
}

/** What `config.json` says about quantised weights. */
export interface CheckpointQuantization {
  /** `quantization_config.quant_method`. */
  readonly method?: string;
  /** Rows and columns that share one scale. */
  readonly block: readonly [rows: number, cols: number];
}

/** Reads `quantization_config` from a `config.json`; everything else in it is left to the model code. */
export function parseQuantizationConfig(file: string, json: Uint8Array): CheckpointQuantization {
  const scanner = new JsonScanner(file, json);
  scanner.skipValue();
  scanner.end();
  // The scanner has bounded depth and checked the syntax.
  const config = JSON.parse(new TextDecoder().decode(new Uint8Array(json))) as unknown;
  const quantization = property(config, 'quantization_config');
  const method = property(quantization, 'quant_method');
  const block = property(quantization, 'weight_block_size') ?? DEFAULT_WEIGHT_BLOCK;
  if (!isBlock(block)) {
    throw new CheckpointError(file, {
      code: 'fp8/bad-block-size',
      message: `expected quantization_config.weight_block_size as two positive integers, got ${quoted(JSON.stringify(block))}`,
      value: block,
      remedy: 'correct weight_block_size, usually [128, 128]',
    });
  }
  return typeof method === 'string' ? { method, block } : { block };
}

function property(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

function isBlock(value: unknown): value is readonly [number, number] {
  const isSize = (size: unknown): boolean => Number.isSafeInteger(size) && (size as number) > 0;
  return Array.isArray(value) && value.length === 2 && value.every(isSize);
}
