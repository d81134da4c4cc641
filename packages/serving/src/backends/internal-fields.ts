import { JsonObject } from '../json/json-object.js';

/**
 * Fields by which servers of a pool talk to each other or find requests. From a client they would reach other
 * clients' KV blocks, ranks or requests: SGLang, for one, aborts by the beginning of `rid`.
 */
const internalFields = [
  'kv_transfer_params',
  'ec_transfer_params',
  'bootstrap_host',
  'bootstrap_port',
  'bootstrap_room',
  'bootstrap_pair_key',
  'decode_tp_size',
  'rid',
  'request_id',
  'data_parallel_rank',
  'data_parallel_rank_decode',
  'routed_dp_rank',
  'disagg_prefill_dp_rank',
] as const;

const removal: Readonly<Record<string, undefined>> = Object.fromEntries(
  internalFields.map((field) => [field, undefined]),
);

/** The body without internal fields; the same object when it has none. */
export function stripInternalFields(body: JsonObject): JsonObject {
  const text = body.with(removal);
  return text === body.text ? body : JsonObject.parse(text);
}
