import { createGuardrail } from '@moestack/detect/guardrail';

/** What this application lets through. Patterns are matched in linear time, so they may look at any text. */
export const houseRules = createGuardrail({
  name: 'house rules',
  topics: [{ name: 'medical advice', patterns: ['\\b(?:diagnos|prescri)\\w+'] }],
  pii: [{ type: 'EMAIL' }, { type: 'CREDIT_DEBIT_CARD_NUMBER', mode: 'block' }],
  aiText: { mode: 'annotate' },
});

/** A policy that English can hardly satisfy, to see an answer replaced. */
export const noConnectives = createGuardrail({
  name: 'no connectives',
  words: { list: ['the', 'and', 'of', 'in', 'to', 'a', 'that', 'was', 'he', 'it'] },
});
