import { CONFIG_FILE } from './checkpoint.js';
import { type ConversionTarget, TARGET_BLOCK } from './conversion-plan.js';
import { JsonScanner } from './json-scanner.js';

const TORCH_DTYPES: { readonly [T in ConversionTarget]?: string } = Object.freeze({
  bf16: 'bfloat16',
  f16: 'float16',
  f32: 'float32',
});

/**
 * A model's `config.json` after conversion: `quantization_config` removed or added, the dtype keys that are there
 * set; everything else is passed on as it is written, numbers beyond 2^53 and their spelling included.
 *
 * @throws {@link CheckpointError} for anything but a JSON object.
 */
export function convertConfig(json: Uint8Array, target: ConversionTarget): Uint8Array {
  const decoder = new TextDecoder();
  const scanner = new JsonScanner(CONFIG_FILE, json);
  const members = new Map<string, string>();
  scanner.object((key) => {
    if (members.has(key)) throw scanner.duplicate(key);
    const start = scanner.offset;
    scanner.skipValue();
    members.set(key, decoder.decode(json.slice(start, scanner.offset)).trim());
  });
  scanner.end();
  const dtype = TORCH_DTYPES[target];
  for (const key of ['torch_dtype', 'dtype']) {
    if (dtype !== undefined && members.has(key)) members.set(key, JSON.stringify(dtype));
  }
  if (target === 'fp8-block') {
    const quantization = {
      activation_scheme: 'dynamic',
      fmt: 'e4m3',
      quant_method: 'fp8',
      weight_block_size: TARGET_BLOCK,
    };
    members.set('quantization_config', JSON.stringify(quantization));
  } else {
    members.delete('quantization_config');
  }
  const lines = [...members].map(([key, value]) => `  ${JSON.stringify(key)}: ${value}`);
  return new TextEncoder().encode(lines.length === 0 ? '{}\n' : `{\n${lines.join(',\n')}\n}\n`);
}
