import type { z } from 'zod';
import { SimulatorError } from '../errors.js';

/** Checks what is about to be written. */
export function checkSchema<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path.join('.') ?? '';
  throw new SimulatorError({
    code: 'simulator/bad-config',
    message: `wrong ${what}${path === '' ? '' : ` at ${path}`}: ${issue?.message}`,
    value: path,
    remedy: 'change the deployment so that the engine can run it',
  });
}
