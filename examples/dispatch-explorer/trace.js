import { Int32Base64 } from '@moestack/schemas';
import { z } from 'zod';

const MAX_TOKENS = 65_536;

/** The parts of a moestack routing trace that matter here; everything else in the file passes. */
const Trace = z.looseObject({
  kind: z.literal('moestack.routing-trace'),
  schemaVersion: z.literal(1),
  experts: z.int().min(1).max(65_536),
  topK: z.int().min(1).max(64),
  records: z
    .array(
      z.looseObject({
        step: z.int().min(0),
        layer: z.int().min(0),
        tokens: z.int().min(0).max(MAX_TOKENS),
        indices: Int32Base64.optional(),
      }),
    )
    .min(1),
});

/**
 * Selections of one step and layer of a trace.
 *
 * @param {unknown} json - the parsed file
 * @param {{ step?: number, layer?: number }} which - default: the first record
 */
export function readTrace(json, which = {}) {
  const parsed = Trace.safeParse(json);
  if (!parsed.success) throw new Error(`not a routing trace:\n${z.prettifyError(parsed.error)}`);
  const { experts, topK, records } = parsed.data;
  const record = records.find(
    ({ step, layer }) => (which.step ?? step) === step && (which.layer ?? layer) === layer,
  );
  if (record === undefined) {
    const wanted = Object.entries(which)
      .map((entry) => entry.join(' '))
      .join(' ');
    const known = records.slice(0, 8).map(({ step, layer }) => `step ${step} layer ${layer}`);
    throw new Error(`no record of ${wanted}; the file has ${known.join(', ')}`);
  }
  const { tokens, indices } = record;
  if (indices === undefined) throw new Error('the indices of this record are in a sidecar file; inline them');
  if (indices.length !== tokens * topK) {
    throw new Error(`expected ${tokens * topK} indices for ${tokens} tokens, got ${indices.length}`);
  }
  return { experts, topK, tokens, indices, step: record.step, layer: record.layer };
}
