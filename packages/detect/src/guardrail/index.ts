export {
  type ApplyGuardrailAnswer,
  type ApplyGuardrailAssessment,
  type ApplyGuardrailBody,
  type ApplyGuardrailUsage,
  applyGuardrail,
  parseApplyGuardrailBody,
} from './apply-guardrail.js';
export {
  createGuardrail,
  type Guardrail,
  type GuardrailFinding,
  type GuardrailOptions,
  type GuardrailResult,
  type GuardrailSource,
} from './guardrail.js';
export { LinearPattern, type PatternMatch } from './linear-pattern.js';
export { findPii, type PiiMatch, type PiiType, piiTypes } from './pii.js';
export type { GuardrailMode, GuardrailPolicy } from './policy.js';
