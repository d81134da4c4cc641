/** A stage of one layer, as {@link LayerStages} names it. */
export type StageName =
  | 'attentionProject'
  | 'attentionGather'
  | 'attentionCore'
  | 'attentionReduce'
  | 'gate'
  | 'dispatchSend'
  | 'dispatchReceive'
  | 'shared'
  | 'experts'
  | 'combineSend'
  | 'combineReceive';

/**
 * How the stages of a step follow one another. `none`: one batch, layer by layer. `prefill` and `decode`: two micro-batches, of which one computes while the
 * tokens of the other travel, in the orders that DeepSeek published for its engine.
 */
export type Overlap = 'none' | 'prefill' | 'decode';

/** One stage of one micro-batch in a cycle of a schedule. */
export interface ScheduledStage {
  readonly stage: StageName;
  readonly microBatch: 0 | 1;
  /** Layer, relative to the cycle. */
  readonly shift: -1 | 0 | 1;
}

/** Stages that repeat for each layer; those whose layer does not exist are left out. */
export interface StageSchedule {
  readonly microBatches: 1 | 2;
  /** The first cycle: -1 where stages belong to the layer after theirs. */
  readonly firstCycle: -1 | 0;
  /** Cycles after the last layer: 1 where stages belong to the layer before theirs. */
  readonly extraCycles: 0 | 1;
  readonly stages: readonly ScheduledStage[];
}

function at(microBatch: 0 | 1, shift: -1 | 0 | 1, ...stages: StageName[]): ScheduledStage[] {
  return stages.map((stage) => ({ stage, microBatch, shift }));
}

/** The shared experts need no tokens of others, so that they run while these travel. */
const none: StageSchedule = {
  microBatches: 1,
  firstCycle: 0,
  extraCycles: 0,
  stages: at(
    0,
    0,
    ...(['attentionProject', 'attentionCore', 'gate', 'dispatchSend', 'shared'] as const),
    ...(['dispatchReceive', 'experts', 'combineSend', 'combineReceive'] as const),
  ),
};

/** ATTN(1) SHARED(0) ATTN(0) MLP(1) MLP(0) SHARED(1), against COMBINE(0) DISPATCH(1) DISPATCH(0) COMBINE(1). */
const prefill: StageSchedule = {
  microBatches: 2,
  firstCycle: 0,
  extraCycles: 1,
  stages: [
    ...at(1, 0, 'attentionProject', 'attentionCore', 'gate', 'dispatchSend'),
    ...at(0, -1, 'shared', 'combineReceive'),
    ...at(0, 0, 'attentionProject', 'attentionCore', 'gate', 'dispatchSend'),
    ...at(1, 0, 'dispatchReceive', 'experts', 'combineSend'),
    ...at(0, 0, 'dispatchReceive', 'experts', 'combineSend'),
    ...at(1, 0, 'shared', 'combineReceive'),
  ],
};

/** [SHARED(0) + ATTN-0(1) || DISPATCH(0)] MLP(0) [ATTN-1(1) || COMBINE(0)], and mirrored. */
const decode: StageSchedule = {
  microBatches: 2,
  firstCycle: -1,
  extraCycles: 0,
  stages: [
    ...at(0, 0, 'dispatchSend', 'shared'),
    ...at(1, 0, 'attentionProject'),
    ...at(0, 0, 'dispatchReceive', 'experts', 'combineSend'),
    ...at(1, 0, 'attentionCore', 'gate'),
    ...at(0, 0, 'combineReceive'),
    ...at(1, 0, 'dispatchSend', 'shared'),
    ...at(0, 1, 'attentionProject'),
    ...at(1, 0, 'dispatchReceive', 'experts', 'combineSend'),
    ...at(0, 1, 'attentionCore', 'gate'),
    ...at(1, 0, 'combineReceive'),
  ],
};

/** The schedule of each kind of overlap, where a rank has all attention heads. */
export const stageSchedules: Readonly<Record<Overlap, StageSchedule>> = { none, prefill, decode };

const tensorNone: StageSchedule = {
  ...none,
  stages: at(
    0,
    0,
    ...(['attentionProject', 'attentionGather', 'attentionCore', 'attentionReduce', 'gate'] as const),
    ...(['dispatchSend', 'shared', 'dispatchReceive', 'experts', 'combineSend', 'combineReceive'] as const),
  ),
};

/** The order of `prefill`; rows that are gathered and sums that are reduced travel while the other micro-batch computes too. */
const tensorPrefill: StageSchedule = {
  ...prefill,
  stages: [
    ...at(1, 0, 'attentionProject'),
    ...at(0, -1, 'shared'),
    ...at(1, 0, 'attentionGather', 'attentionCore'),
    ...at(0, -1, 'combineReceive'),
    ...at(0, 0, 'attentionProject'),
    ...at(1, 0, 'attentionReduce', 'gate', 'dispatchSend'),
    ...at(0, 0, 'attentionGather', 'attentionCore'),
    ...at(1, 0, 'dispatchReceive'),
    ...at(0, 0, 'attentionReduce', 'gate', 'dispatchSend'),
    ...at(1, 0, 'experts', 'combineSend'),
    ...at(0, 0, 'dispatchReceive', 'experts', 'combineSend'),
    ...at(1, 0, 'shared', 'combineReceive'),
  ],
};

/** The order of `decode`, with what ATTN-1 waits for at its beginning and before its gate. */
const tensorDecode: StageSchedule = {
  ...decode,
  stages: decode.stages.flatMap((entry) =>
    entry.stage === 'attentionCore'
      ? at(entry.microBatch, entry.shift, 'attentionGather', 'attentionCore', 'attentionReduce')
      : [entry],
  ),
};

/** The schedule of each kind of overlap, where ranks share the attention heads. */
export const tensorSchedules: Readonly<Record<Overlap, StageSchedule>> = {
  none: tensorNone,
  prefill: tensorPrefill,
  decode: tensorDecode,
};
