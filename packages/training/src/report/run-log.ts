import { type TrainConfig, TrainEvent } from '@moestack/schemas';
import { TrainingError } from '../errors.js';

/** A step of a {@link RunLog}. */
export type StepEvent = Extract<TrainEvent, { type: 'step' }>;

/** The log of a run, in order of steps. */
export interface RunLog {
  readonly start: Extract<TrainEvent, { type: 'start' }> | undefined;
  readonly steps: readonly StepEvent[];
  readonly end: Extract<TrainEvent, { type: 'end' }> | undefined;
}

/** A log and what the run was configured as. */
export interface Run {
  readonly config: TrainConfig;
  readonly log: RunLog;
}

/** Longest log that is read, in UTF-16 units. */
export const MAX_LOG_LENGTH: number = 512 * 1024 * 1024;

/**
 * Reads the JSON lines of a run. Steps that a resumed run did again count once, as they were last; an incomplete last
 * line, which a killed process leaves, is passed over.
 *
 * @throws TrainingError `training/bad-log` for any other line that is no record.
 */
export function parseRunLog(text: string): RunLog {
  if (text.length > MAX_LOG_LENGTH)
    throw badLog(`expected at most ${MAX_LOG_LENGTH} characters`, text.length);
  const steps = new Map<number, StepEvent>();
  let start: RunLog['start'];
  let end: RunLog['end'];
  const lines = text.split('\n');
  lines.forEach((line, index) => {
    if (line.trim() === '') return;
    const event = parseLine(line, index + 1, index === lines.length - 1);
    if (event?.type === 'step') steps.set(event.step, event);
    else if (event?.type === 'end') end = event;
    else if (event?.type === 'start') {
      start ??= event;
      end = undefined;
      for (const step of steps.keys()) if (step > event.firstStep) steps.delete(step);
    }
  });
  return { start, steps: [...steps.values()].sort((a, b) => a.step - b.step), end };
}

function parseLine(line: string, number: number, isTail: boolean): TrainEvent | undefined {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    if (isTail) return undefined;
    throw badLog(`line ${number} is no JSON`, line.slice(0, 200), cause);
  }
  const parsed = TrainEvent.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badLog(`line ${number}: ${issue?.path.join('.')}: ${issue?.message}`, line.slice(0, 200));
}

function badLog(message: string, value: unknown, cause?: unknown): TrainingError {
  return new TrainingError({
    code: 'training/bad-log',
    message: `not the log of a training run: ${message}`,
    value,
    remedy: 'name a run directory of moestack train, or its log.jsonl',
    ...(cause === undefined ? {} : { cause }),
  });
}
