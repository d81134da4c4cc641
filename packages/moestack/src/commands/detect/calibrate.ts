import { conformalThreshold, createEmbeddedDetector, fitPlatt, thresholdForFpr } from '@moestack/detect';
import { z } from 'zod';
import { CliError } from '../../errors.js';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { checkOutput, writeOutput } from '../fp8/output-file.js';
import { badData, readBounded, readRecords } from './read-records.js';

/** Options of {@link calibrate}. */
export interface CalibrateCommandOptions {
  readonly minWords: number;
  readonly out?: string;
}

const rates = z.strictObject({
  '0.01': z.number().nullable(),
  '0.05': z.number().nullable(),
  '0.1': z.number().nullable(),
});

/** Probabilities and thresholds for one kind of text. */
const CalibrationFile = z.strictObject({
  schemaVersion: z.literal(1),
  model: z.string().min(1).describe('id of the weights whose scores these are for'),
  humans: z.int().positive(),
  ais: z.int().positive(),
  minimumWords: z.int().nonnegative(),
  platt: z.strictObject({ a: z.number(), b: z.number() }).describe('p = 1 / (1 + exp(a score + b))'),
  conformal: rates.describe('flag when the score is above; null: too few human texts'),
});
export type Calibration = z.infer<typeof CalibrationFile>;

const ALPHAS = ['0.01', '0.05', '0.1'] as const;

/** Fits a calibration to labelled texts. */
export async function calibrate(
  data: string,
  options: CalibrateCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  await checkOutput(options.out);
  const records = await readRecords(data);
  const detector = createEmbeddedDetector();
  const human: number[] = [];
  const ai: number[] = [];
  const progress = new ProgressDisplay(reporter, { label: 'scoring', total: (count) => `${count} texts` });
  try {
    for (const [i, { text, isAi }] of records.entries()) {
      signal.throwIfAborted();
      const { score, words } = detector.detect(text);
      if (words >= options.minWords) (isAi ? ai : human).push(score);
      progress.update(i + 1, records.length);
      if (i % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    progress.stop();
  }
  if (Math.min(human.length, ai.length) < 10)
    throw new CliError({
      code: 'cli/bad-data',
      message: `expected at least 10 human and 10 AI texts of ${options.minWords} words, got ${human.length} and ${ai.length}`,
      value: data,
      remedy: 'add texts; some hundred of each make a usable calibration',
    });
  const at = (alpha: string): number | null => {
    const { threshold } = conformalThreshold(human, Number(alpha));
    return Number.isFinite(threshold) ? threshold : null;
  };
  const calibration: Calibration = {
    ...{ schemaVersion: 1, model: detector.id, humans: human.length, ais: ai.length },
    minimumWords: options.minWords,
    platt: fitPlatt(human, ai),
    conformal: { '0.01': at('0.01'), '0.05': at('0.05'), '0.1': at('0.1') },
  };
  if (options.out !== undefined)
    await writeOutput(options.out, `${JSON.stringify(calibration, undefined, 2)}\n`);
  const lines = ALPHAS.map((alpha) => {
    const threshold = calibration.conformal[alpha];
    if (threshold === null) return `alpha ${alpha}: too few human texts`;
    const flagged = ai.filter((score) => score > threshold).length;
    const observed =
      Number(alpha) * human.length >= 1 ? thresholdForFpr(human, ai, Number(alpha)) : undefined;
    return `alpha ${alpha}: AI above ${threshold.toFixed(2)}, which finds ${((100 * flagged) / ai.length).toFixed(0)}% of the AI texts${observed === undefined ? '' : ` (on these texts, ${observed.threshold.toFixed(2)} would do)`}`;
  });
  reporter.result({ event: 'calibration', ...calibration }, [
    `${human.length} human and ${ai.length} AI texts; p = 1 / (1 + exp(${calibration.platt.a.toFixed(3)} score + ${calibration.platt.b.toFixed(3)}))`,
    ...lines,
    ...(options.out === undefined
      ? ['nothing was written: pass --out to keep it']
      : [`written: ${options.out}`]),
  ]);
}

/** Reads what {@link calibrate} wrote. @throws {@link CliError} `cli/bad-data` */
export async function readCalibration(path: string): Promise<Calibration> {
  const text = await readBounded(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw badData(path, 'it is no JSON', cause);
  }
  const parsed = CalibrationFile.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw badData(path, `${issue?.path.join('.')}: ${issue?.message}`);
  }
  return parsed.data;
}
