import * as detect from '@moestack/detect';

interface PairLogits {
  vocab: number;
  observer: Float32Array;
  performer: Float32Array;
  ids: Int32Array;
  mask?: Uint8Array;
  padTokenId?: number;
}

/** The agreed surface of the main entry; the exports must be assignable to it. */
interface Contract {
  fromLogits(
    detector:
      | 'binoculars'
      | 'fastDetectGpt'
      | 'logLikelihood'
      | 'logRank'
      | 'rank'
      | 'entropy'
      | 'lrr'
      | 'lastde',
    input: PairLogits,
    options?: { precision?: 'f64' | 'f32' | 'bf16'; temperature?: number },
  ): number;
  evaluate(
    scores: ArrayLike<number>,
    isAi: ArrayLike<number>,
  ): { rocAuc: number; prAuc: number; delong: { low: number; high: number; standardError: number } };
}

detect satisfies Contract;
