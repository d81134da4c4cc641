import type { PiiType } from './pii.js';

/** What happens to a finding: the text is withheld, the finding is masked, or it is only reported. */
export type GuardrailMode = 'block' | 'redact' | 'annotate';

/** What a guardrail looks for. Everything runs in this process, without network. */
export interface GuardrailPolicy {
  readonly name: string;
  /** Text that the embedded detector calls AI; default mode `block`. It cannot be masked: `redact` blocks. */
  readonly aiText?: {
    readonly mode?: GuardrailMode;
    /** Share of human texts that may be taken for AI; default 0.01. */
    readonly alpha?: 0.01 | 0.05 | 0.1;
    readonly minimumWords?: number;
    /** Default: both. */
    readonly sources?: readonly ('INPUT' | 'OUTPUT')[];
  };
  /** Subjects that must not be talked about, by patterns; see `LinearPattern`. */
  readonly topics?: readonly {
    readonly name: string;
    readonly patterns: readonly string[];
    readonly mode?: GuardrailMode;
  }[];
  /** Words and phrases, whole and in any case. */
  readonly words?: { readonly list: readonly string[]; readonly mode?: GuardrailMode };
  /** Personal data; default mode `redact`. */
  readonly pii?: readonly { readonly type: PiiType; readonly mode?: GuardrailMode }[];
  /** Patterns of your own; default mode `redact`. */
  readonly regexes?: readonly {
    readonly name: string;
    readonly pattern: string;
    readonly mode?: GuardrailMode;
  }[];
  /** What is shown in place of a blocked input or output. */
  readonly blockedInputMessage?: string;
  readonly blockedOutputMessage?: string;
}
