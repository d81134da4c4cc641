import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ExpertLoad, Placement, RoutingTrace, TrafficReport } from '@moestack/schemas';
import { z } from 'zod';

const figures = z.strictObject({
  imbalance: z.number().min(1).describe('load of the busiest rank over the mean'),
  ttftSeconds: z.number().positive(),
  tpotSeconds: z.number().positive(),
  outputTokensPerSecond: z.number().positive(),
});

/** What step 5 writes: the same traffic on the same GPUs, experts in order and as planned. */
const Outlook = z.strictObject({
  schemaVersion: z.literal(1),
  gpus: z.int().min(1),
  inOrder: figures,
  planned: figures,
});

/** What step 6 writes. */
const Answers = z.strictObject({
  schemaVersion: z.literal(1),
  ranks: z.int().min(1),
  rows: z.array(z.int().min(0)).describe('expert rows that each rank computed'),
  answers: z.array(
    z.strictObject({
      prompt: z.string(),
      status: z.int(),
      guardrail: z.string().nullable(),
      text: z.string(),
    }),
  ),
});

/** Every file that steps exchange, with the schema that it is held to when written and when read. */
const schemas = {
  'trace.json': RoutingTrace,
  'load.json': ExpertLoad,
  'placement.json': Placement,
  'traffic.json': TrafficReport,
  'outlook.json': Outlook,
  'answers.json': Answers,
};

export const folder = process.argv[2] ?? '.';

function check(name, text) {
  let json;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`${name} is no JSON: ${error.message}`);
  }
  const result = schemas[name].safeParse(json);
  if (!result.success) throw new Error(`${name} does not fit its schema:\n${z.prettifyError(result.error)}`);
  return result.data;
}

/** The text of a file that fits its schema. */
export function readText(name) {
  const text = readFileSync(join(folder, name), 'utf8');
  check(name, text);
  return text;
}

/** A file by its schema. */
export function readFile(name) {
  return check(name, readFileSync(join(folder, name), 'utf8'));
}

/** Writes a file once its text fits its schema. */
export function writeText(name, text) {
  check(name, text);
  writeFileSync(join(folder, name), text);
}
