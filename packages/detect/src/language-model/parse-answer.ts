import { z } from 'zod';
import { badResponse } from './http-client.js';

/** A natural logarithm of a probability; servers round, so that a little above 0 is let pass. */
export const LogProb: z.ZodType<number> = z.number().max(1e-3);

/** Checks an answer, naming the first field that is wrong. */
export function parseAnswer<T>(schema: z.ZodType<T>, json: unknown, source: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw badResponse(
    source,
    'log-probabilities of the prompt',
    `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`,
  );
}

/** The K largest, descending. */
export function largest(logProbs: number[], topK: number): number[] {
  return logProbs.sort((a, b) => b - a).slice(0, topK);
}
