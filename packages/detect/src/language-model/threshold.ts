import { z } from 'zod';
import { DetectError } from '../errors.js';
import { type DetectorName, detectors } from '../scores/detectors.js';
import type { DetectorScore, ModelPairIdentity } from './measure-text.js';

const identity: z.ZodType<ModelPairIdentity['performer']> = z.strictObject({
  name: z.string().min(1).max(500),
  dtype: z.string().min(1).max(100),
  vocabulary: z.int().positive().exactOptional(),
});

/** A threshold with all that it was fitted for; JSON-serialisable. */
export interface DetectorThreshold {
  readonly schemaVersion: 1;
  readonly detector: DetectorName;
  /** AI is at or above it (orientation `high`), or strictly below it (`low`). Infinite (null in JSON): nothing is flagged. */
  readonly threshold: number;
  readonly models: ModelPairIdentity;
  /** How it was chosen, such as `fpr 0.01` or `f1`. */
  readonly rule: string;
  /** Texts it was chosen on, if known. */
  readonly fittedOn?: { readonly dataset: string; readonly humans: number; readonly ais: number };
}

const detectorNames = Object.keys(detectors) as [DetectorName, ...DetectorName[]];
/** JSON has no infinity: null is a threshold that flags nothing. */
type ThresholdJson = Omit<DetectorThreshold, 'threshold'> & { readonly threshold: number | null };
const thresholdSchema: z.ZodType<ThresholdJson> = z.strictObject({
  schemaVersion: z.literal(1),
  detector: z.enum(detectorNames),
  threshold: z.number().nullable(),
  models: z.strictObject({ performer: identity, observer: identity.exactOptional() }),
  rule: z.string().max(500),
  fittedOn: z
    .strictObject({ dataset: z.string().max(500), humans: z.int().min(0), ais: z.int().min(0) })
    .exactOptional(),
});

const falcon: ModelPairIdentity = {
  observer: { name: 'tiiuae/falcon-7b', dtype: 'bf16' },
  performer: { name: 'tiiuae/falcon-7b-instruct', dtype: 'bf16' },
};

/** The thresholds that Binoculars publishes, valid for the Falcon 7B pair in bfloat16 only. */
export const BINOCULARS_THRESHOLDS: {
  readonly lowFpr: DetectorThreshold;
  readonly accuracy: DetectorThreshold;
} = {
  lowFpr: {
    schemaVersion: 1,
    detector: 'binoculars',
    threshold: 0.8536432310785527,
    models: falcon,
    rule: 'published: fpr 0.0001',
  },
  accuracy: {
    schemaVersion: 1,
    detector: 'binoculars',
    threshold: 0.9015310749276843,
    models: falcon,
    rule: 'published: f1',
  },
};

/** A threshold from JSON that somebody else may have written. */
export function parseThreshold(json: unknown): DetectorThreshold {
  const parsed = thresholdSchema.safeParse(json);
  if (parsed.success) {
    const { threshold, ...rest } = parsed.data;
    const never = detectors[rest.detector].orientation === 'high' ? Infinity : -Infinity;
    return { ...rest, threshold: threshold ?? never };
  }
  const issue = parsed.error.issues[0];
  throw new DetectError({
    code: 'detect/bad-config',
    message: `expected a threshold, got a bad field ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`,
    value: issue?.path.join('.'),
    remedy: 'write the file with JSON.stringify of a DetectorThreshold',
  });
}

/** Whether a score is on the AI side. */
export function isFlagged(score: number, threshold: number, orientation: 'high' | 'low'): boolean {
  return orientation === 'high' ? score >= threshold : score < threshold;
}

/**
 * Applies a threshold to a score of the same detector, models and dtype.
 *
 * @param options.force - apply it to other models all the same; the result means little then
 * @throws DetectError `detect/model-mismatch` naming what differs
 */
export function applyThreshold(
  score: DetectorScore,
  threshold: DetectorThreshold,
  options: { readonly force?: boolean } = {},
): { readonly flagged: boolean; readonly forced: boolean } {
  if (score.detector !== threshold.detector)
    throw mismatch('detector', threshold.detector, score.detector, false);
  let difference: readonly [what: string, wanted: string, got: string] | undefined;
  for (const role of ['performer', 'observer'] as const) {
    const wanted = threshold.models[role];
    const got = score.models[role];
    if (wanted === undefined && got === undefined) continue;
    for (const field of ['name', 'dtype'] as const) {
      if (wanted?.[field] !== got?.[field])
        difference ??= [`${role} ${field}`, wanted?.[field] ?? 'none', got?.[field] ?? 'none'];
    }
  }
  if (difference !== undefined && options.force !== true) throw mismatch(...difference, true);
  return {
    flagged: isFlagged(score.value, threshold.threshold, score.orientation),
    forced: difference !== undefined,
  };
}

function mismatch(what: string, wanted: string, got: string, forcible: boolean): DetectError {
  return new DetectError({
    code: 'detect/model-mismatch',
    message: `expected ${what} ${wanted}, for which the threshold was fitted, got ${got}`,
    value: { what, wanted, got },
    remedy: `fit a threshold on human texts with these models${forcible ? ', or pass force: true knowing that the error rates do not carry over' : ''}`,
  });
}
