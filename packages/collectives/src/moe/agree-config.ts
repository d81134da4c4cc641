import { MismatchError } from '../errors.js';
import type { DispatcherConfig } from './config.js';

const FIELDS: readonly (keyof DispatcherConfig)[] = [
  'mode',
  'experts',
  'topK',
  'hidden',
  'maxTokensPerRank',
  'payload',
  'combinePayload',
  'scale',
  'expertAlignment',
  'worstCase',
  'maxReceiveTokens',
  'chunkTokens',
  'inFlight',
  'ranks',
  'nodes',
];

/** What a rank tells the others before it opens a channel. */
export function encodeConfig(config: DispatcherConfig): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(FIELDS.map((field) => config[field])));
}

/** Throws on every rank when two ranks would run different dispatchers. */
export function compareConfigs(payloads: readonly Uint8Array[]): void {
  const decoder = new TextDecoder();
  const configs = payloads.map((bytes) => JSON.parse(decoder.decode(bytes)) as unknown[]);
  const first = configs[0]!;
  for (const [index, field] of FIELDS.entries()) {
    const ranks = configs.flatMap((config, rank) => (config[index] === first[index] ? [] : [rank]));
    if (ranks.length === 0) continue;
    const other = configs[ranks[0]!]![index];
    throw new MismatchError(field, ranks, `rank 0 has ${first[index]}, rank ${ranks[0]} has ${other}`);
  }
}
