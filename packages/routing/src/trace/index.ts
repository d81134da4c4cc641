import { decodeSidecar, encodeSidecar, RoutingTrace, type SidecarTensor } from '@moestack/schemas';
import { MoestackError } from '@moestack/schemas/errors';
import { badTrace, type CapturedTrace, requireRecord, type TraceRecord } from './trace.js';

export type { CapturedTrace, TraceRecord } from './trace.js';

/** Longest JSON text of a trace that is read. */
export const MAX_TRACE_TEXT_LENGTH: number = 256 * 1024 * 1024;

/** A trace as files. */
export interface EncodedTrace {
  /** The JSON file, of the `RoutingTrace` schema of `@moestack/schemas`. */
  json: string;
  /** The safetensors file it names, if one was asked for. */
  sidecar?: Uint8Array;
}

/**
 * Writes a trace: arrays as base64 in the JSON, or in a safetensors sidecar when it gets a file name.
 *
 * @param trace - what a recorder captured.
 * @param options - `sidecar`: name of the sidecar beside the JSON file.
 */
export async function encodeRoutingTrace(
  trace: CapturedTrace,
  options: { sidecar?: string } = {},
): Promise<EncodedTrace> {
  const { experts, topK, model, dropped, records } = trace;
  requireRecords(trace);
  const head = {
    schemaVersion: 1,
    kind: 'moestack.routing-trace',
    experts,
    topK,
    dropped,
    ...(model === undefined ? {} : { model }),
  } as const;
  if (options.sidecar === undefined) return { json: JSON.stringify(encode({ ...head, records })) };
  const tensors: Record<string, SidecarTensor> = {};
  for (const { step, layer, tokens, indices, weights } of records) {
    const shape = [tokens, topK];
    tensors[`${step}.${layer}.indices`] = { shape, data: indices };
    if (weights !== undefined) tensors[`${step}.${layer}.weights`] = { shape, data: weights };
  }
  const sidecar = encodeSidecar(tensors);
  const json = encode({
    ...head,
    sidecar: { file: options.sidecar, sha256: await sha256(sidecar) },
    records: records.map(({ step, layer, tokens }) => ({ step, layer, tokens })),
  });
  return { json: JSON.stringify(json), sidecar };
}

/**
 * Reads a trace. Throws `routing/bad-trace` for anything that is not one: lengths, ids and the hash of the sidecar are checked.
 *
 * @param json - text of the JSON file.
 * @param sidecar - bytes of the sidecar, if the JSON names one.
 */
export async function decodeRoutingTrace(json: string, sidecar?: Uint8Array): Promise<CapturedTrace> {
  const parsed = parse(json);
  const { experts, topK, model, dropped } = parsed;
  const tensors = await openSidecar(parsed, sidecar);
  const records = parsed.records.map((record): TraceRecord => {
    const { step, layer, tokens } = record;
    const name = `${step}.${layer}`;
    const indices = tensors === undefined ? record.indices : tensors.get(`${name}.indices`)?.data;
    const weights = tensors === undefined ? record.weights : tensors.get(`${name}.weights`)?.data;
    if (tensors !== undefined && (record.indices !== undefined || record.weights !== undefined)) {
      throw badTrace(`expected all arrays in the sidecar, got ${name} inline`, name, 'write the trace again');
    }
    if (!(indices instanceof Int32Array)) {
      throw badTrace(
        `expected int32 ids for ${name}, got none`,
        name,
        'pass the sidecar that the trace names',
      );
    }
    if (weights !== undefined && !(weights instanceof Float32Array)) {
      throw badTrace(`expected float32 weights for ${name}`, name, 'write the trace again');
    }
    return { step, layer, tokens, indices, ...(weights === undefined ? {} : { weights }) };
  });
  const trace: CapturedTrace = { experts, topK, dropped, records, ...(model === undefined ? {} : { model }) };
  requireRecords(trace);
  return trace;
}

function encode(trace: RoutingTrace): unknown {
  const result = RoutingTrace.safeEncode(trace);
  if (!result.success) throw schemaError(result.error.issues);
  return result.data;
}

function parse(json: string): RoutingTrace {
  if (json.length > MAX_TRACE_TEXT_LENGTH) {
    throw badTrace(
      `expected at most ${MAX_TRACE_TEXT_LENGTH} characters of JSON, got ${json.length}`,
      json.length,
      'write big traces with a sidecar',
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw badTrace(
      'expected a routing trace in JSON',
      json.slice(0, 40),
      'pass the text of the JSON file',
      cause,
    );
  }
  const result = RoutingTrace.safeParse(value);
  if (!result.success) throw schemaError(result.error.issues);
  return result.data;
}

async function openSidecar(
  trace: RoutingTrace,
  bytes: Uint8Array | undefined,
): Promise<Map<string, SidecarTensor> | undefined> {
  if (trace.sidecar === undefined) {
    if (bytes === undefined) return undefined;
    throw badTrace('expected no sidecar, since the trace names none', bytes.length, 'pass the JSON alone');
  }
  const { file, sha256: expected } = trace.sidecar;
  if (bytes === undefined) throw badTrace(`expected the sidecar ${file}, got none`, file, 'pass its bytes');
  const actual = await sha256(bytes);
  if (actual !== expected) {
    throw badTrace(
      `expected a sidecar with SHA-256 ${expected}, got ${actual}`,
      actual,
      `pass the ${file} of this trace`,
    );
  }
  try {
    return decodeSidecar(bytes);
  } catch (cause) {
    const text = MoestackError.isInstance(cause) ? cause.message : 'not readable';
    throw badTrace(`expected a safetensors sidecar: ${text}`, file, 'write the trace again', cause);
  }
}

function requireRecords(trace: CapturedTrace): void {
  const seen = new Set<string>();
  for (const record of trace.records) {
    requireRecord(record, trace.experts, trace.topK);
    const key = `${record.step}.${record.layer}`;
    if (seen.has(key)) {
      throw badTrace(
        `expected one record per step and layer, got two for ${key}`,
        key,
        'number steps without repetition',
      );
    }
    seen.add(key);
  }
}

function schemaError(issues: readonly { path: readonly PropertyKey[]; message: string }[]): Error {
  const { path, message } = issues[0]!;
  return badTrace(
    `expected a routing trace, got at ${path.map(String).join('.') || 'its root'}: ${message}`,
    message,
    'write it with encodeRoutingTrace',
  );
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await globalThis.crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
