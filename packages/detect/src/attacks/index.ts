export type { Attack } from './attack.js';
export { type AttackRow, type AttackTableOptions, attackTable } from './attack-table.js';
export {
  type AttackOptions,
  articleAttack,
  caseAttack,
  homoglyphAttack,
  misspellingAttack,
  numberAttack,
  paragraphAttack,
  paraphraseAttack,
  spellingAttack,
  standardAttacks,
  synonymAttack,
  whitespaceAttack,
  zeroWidthAttack,
} from './attacks.js';
export { type NormalizationFindings, type NormalizedText, normalizeText } from './normalize-text.js';
