/** New tokens of one data-parallel rank in a prefill step. */
export interface PrefillLoad {
  /** New tokens, summed over the rank's sequences. */
  readonly tokens: number;
  /** Tokens whose KV was there before, summed over the rank's sequences. */
  readonly contextTokens: number;
  readonly sequences: number;
}

/** Sequences of one data-parallel rank in a decode step. */
export interface DecodeLoad {
  readonly sequences: number;
  /** Tokens of KV that the step attends to, summed over the rank's sequences. */
  readonly contextTokens: number;
}

/** Names of the parts of a step. */
export type StepPart =
  | 'attention'
  | 'dense'
  | 'sharedExperts'
  | 'experts'
  | 'gate'
  | 'dispatch'
  | 'combine'
  | 'tensorParallel'
  | 'head'
  | 'launch'
  /** Negative: what runs beside something else. */
  | 'overlapped';

/** Price of one step of a unit whose ranks all carry the same load. */
export interface StepCost {
  readonly seconds: number;
  /** Seconds by part over all layers; they add up to `seconds`. */
  readonly parts: Readonly<Record<StepPart, number>>;
  /** Bytes of one GPU: device memory read and written, NVLink and network sent. */
  readonly bytes: { readonly memory: number; readonly nvlink: number; readonly network: number };
  /** Floating-point operations of one GPU (2 for a multiply-add). */
  readonly flops: number;
  /** SMs of one GPU while the two run beside each other. */
  readonly sms: { readonly compute: number; readonly communication: number };
}

/** Prices steps of one pool. */
export interface StepCostModel {
  /** Tokens that a decode step yields for a sequence: above 1 with multi-token prediction. */
  readonly tokensPerStep: number;
  /** Prices one prefill step. */
  prefillStep(load: PrefillLoad): StepCost;
  /** Prices one decode step. */
  decodeStep(load: DecodeLoad): StepCost;
  /**
   * Seconds of {@link StepCostModel.prefillStep} without an object: for hot loops. Where ranks differ, the load is the busiest rank's and `meanTokens`
   * the mean, which experts see.
   */
  prefillSeconds(tokens: number, contextTokens: number, sequences: number, meanTokens?: number): number;
  /** Seconds of {@link StepCostModel.decodeStep} without an object; `meanSequences` as above. */
  decodeSeconds(sequences: number, contextTokens: number, meanSequences?: number): number;
}
