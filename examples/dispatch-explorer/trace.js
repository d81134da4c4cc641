import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { decodeRoutingTrace } from '@moestack/routing/trace';
import { RoutingTrace } from '@moestack/schemas';

const MAX_TOKENS = 65_536;

/** Bytes of the sidecar that a trace names beside itself; undefined when it names none (or is no trace, which the decoder reports). */
function readSidecar(file, text) {
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const name = RoutingTrace.shape.sidecar.safeParse(json?.sidecar).data?.file;
  if (name === undefined) return undefined;
  if (/[/\\]/.test(name)) throw new Error(`expected a sidecar beside the trace, got ${name}`);
  return readFileSync(join(dirname(file), name));
}

/**
 * Selections of one step and layer of a trace.
 *
 * @param {string} file - JSON of the `RoutingTrace` schema of `@moestack/schemas`
 * @param {{ step?: number, layer?: number }} which - default: the first record
 */
export async function readTrace(file, which = {}) {
  const text = readFileSync(file, 'utf8');
  const { experts, topK, records } = await decodeRoutingTrace(text, readSidecar(file, text));
  const record = records.find(
    ({ step, layer }) => (which.step ?? step) === step && (which.layer ?? layer) === layer,
  );
  if (record === undefined) {
    const wanted = Object.entries(which)
      .map((entry) => entry.join(' '))
      .join(' ');
    const known = records.slice(0, 8).map(({ step, layer }) => `step ${step} layer ${layer}`);
    throw new Error(`no record of ${wanted || 'any layer'}; the file has ${known.join(', ') || 'none'}`);
  }
  const { step, layer, tokens, indices } = record;
  if (tokens > MAX_TOKENS) throw new Error(`expected at most ${MAX_TOKENS} tokens, got ${tokens}`);
  return { experts, topK, tokens, indices, step, layer };
}
