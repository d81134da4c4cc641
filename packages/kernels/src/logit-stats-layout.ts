/** Doubles that {@link LogitStatsKernels.logitStats} writes. */
export const LOGIT_STATS_LENGTH = 11;
