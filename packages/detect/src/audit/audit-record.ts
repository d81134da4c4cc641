/** A text of a data set that a claim about a detector rests on. */
export interface AuditRecord {
  readonly text: string;
  readonly isAi: boolean;
  /** Shown in findings; default: its number in the data set, from 0. */
  readonly id?: string;
  /** Same for a human text and the AI texts made from it. */
  readonly pair?: string;
  /** For example `train` and `test`. */
  readonly split?: string;
  readonly domain?: string;
  readonly generator?: string;
}

/** What an audit looks for. */
export type AuditFindingKind =
  | 'empty'
  | 'stub'
  | 'licence-header'
  | 'config-only'
  | 'duplicate'
  | 'near-duplicate'
  | 'contradiction'
  | 'pair-leakage'
  | 'text-leakage'
  | 'unbalanced'
  | 'length-confound'
  | 'formatting-artefact';

/** One problem of a data set. */
export interface AuditFinding {
  readonly kind: AuditFindingKind;
  /** `error`: a figure on these data means little; `warning`: it may be off. */
  readonly severity: 'error' | 'warning';
  readonly message: string;
  /** Texts concerned, at most 100 of them. */
  readonly ids: readonly string[];
  /** How many texts are concerned. */
  readonly count: number;
  /** The figure behind it, for example an AUROC. */
  readonly value?: number;
}
