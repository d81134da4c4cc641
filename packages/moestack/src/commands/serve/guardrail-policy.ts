import type { Guardrail, GuardrailPolicy } from '@moestack/detect/guardrail';
import { MoestackError } from '@moestack/schemas/errors';
import { z } from 'zod';
import { CliError } from '../../errors.js';

const mode = z.enum(['block', 'redact', 'annotate']).optional();
const name = z.string().min(1).max(256);

/** A policy as a file has it. Strict: a misspelt rule would protect nobody. */
const PolicySchema = z.strictObject({
  name,
  aiText: z
    .strictObject({
      mode,
      alpha: z.union([z.literal(0.01), z.literal(0.05), z.literal(0.1)]).optional(),
      minimumWords: z.int().min(1).optional(),
      sources: z.array(z.enum(['INPUT', 'OUTPUT'])).optional(),
    })
    .optional(),
  topics: z.array(z.strictObject({ name, patterns: z.array(z.string().min(1)).min(1), mode })).optional(),
  words: z.strictObject({ list: z.array(z.string().min(1)), mode }).optional(),
  pii: z.array(z.strictObject({ type: z.string(), mode })).optional(),
  regexes: z.array(z.strictObject({ name, pattern: z.string().min(1), mode })).optional(),
  blockedInputMessage: z.string().min(1).optional(),
  blockedOutputMessage: z.string().min(1).optional(),
});

/**
 * The guardrail of a configuration.
 *
 * @throws CliError `cli/bad-config` naming the part that is wrong.
 */
export async function guardrailOf(config: object): Promise<Guardrail> {
  const { createGuardrail } = await import('@moestack/detect/guardrail');
  const result = PolicySchema.safeParse(config);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw badGuardrail(['guardrail', ...(issue?.path ?? [])].join('.'), issue?.message ?? 'no policy');
  }
  try {
    return createGuardrail(result.data as GuardrailPolicy);
  } catch (cause) {
    if (!MoestackError.isInstance(cause)) throw cause;
    throw badGuardrail('guardrail', cause.message, cause);
  }
}

function badGuardrail(where: string, message: string, cause?: unknown): CliError {
  return new CliError({
    code: 'cli/bad-config',
    message: `${where}: ${message}`,
    value: where,
    remedy: 'correct the policy; the README of @moestack/detect has its fields',
    ...(cause !== undefined && { cause }),
  });
}
