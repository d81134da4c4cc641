export type { AuditFinding, AuditFindingKind, AuditRecord } from './audit-record.js';
export { type AuditOptions, type AuditReport, auditTexts } from './audit-texts.js';
export { type CodeQuality, codeQuality } from './code-quality.js';
export { type NearDuplicate, type NearDuplicateOptions, nearDuplicates } from './near-duplicates.js';
export { type CodeFunction, type CodeLanguage, languageOf, splitFunctions } from './split-functions.js';
