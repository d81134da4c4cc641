import type { z } from '@hono/zod-openapi';
import { badRequest, clip } from '../errors.js';

/**
 * Checks a body that was read.
 *
 * @throws {@link ServingError} 400 naming the field.
 */
export function checkBody<T extends z.ZodType>(body: unknown, schema: T): z.infer<T> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path ?? [];
  const param = path.join('.');
  const value = valueAt(body, path);
  throw badRequest({
    ...(param !== '' && { param: clip(param) }),
    message: `${param === '' ? 'the body' : clip(param)}: ${issue?.message ?? 'invalid'}, got ${describe(value)}`,
    remedy: 'see /openapi.json for what is accepted',
    value: describe(value),
  });
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** A short text for a value of any size and depth. */
function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(clip(value));
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
