import { DetectError } from '../errors.js';
import { binoculars } from './binoculars.js';
import { fastDetectGpt, sampledDiscrepancy } from './fast-detect-gpt.js';
import { gltr } from './gltr.js';
import { lastde, lastdePlusPlus } from './lastde.js';
import { entropy, logLikelihood, logRank, lrr, rank } from './likelihood.js';
import type { TextStatistics } from './text-statistics.js';

/** Which end of a score means AI. */
export type Orientation = 'high' | 'low';

/**
 * What a detector needs from a language model: whole distributions of two models, of one, the token's log-probability and
 * rank, or the log-probability alone.
 */
export type DetectorNeed = 'pair' | 'full' | 'rank' | 'logProb';

/** A zero-shot score of a text. */
export interface Detector {
  readonly name: DetectorName;
  /** Which end of the score means AI. */
  readonly orientation: Orientation;
  readonly needs: DetectorNeed;
  /** Whether sampled tokens are needed ({@link TextScorerOptions.sampling}). */
  readonly samples?: true;
  /** The score of a text from the statistics of its tokens. */
  score(statistics: TextStatistics): number;
}

/** Names of the detectors that are functions of one pass over logits. */
export type DetectorName =
  | 'binoculars'
  | 'fastDetectGpt'
  | 'sampledDiscrepancy'
  | 'logLikelihood'
  | 'rank'
  | 'logRank'
  | 'entropy'
  | 'lrr'
  | 'lastde'
  | 'lastdePlusPlus'
  | 'gltr';

/**
 * The detectors by name. Scores are the published statistics as they are (perplexity ratios, mean ranks, entropies are
 * positive); `orientation` says how to read them. Fast-DetectGPT and its sampled form use the observer as their reference
 * model where there is one.
 */
export const detectors: Readonly<Record<DetectorName, Detector>> = {
  binoculars: {
    name: 'binoculars',
    orientation: 'low',
    needs: 'pair',
    score: (statistics) => binoculars(statistics).score,
  },
  fastDetectGpt: { name: 'fastDetectGpt', orientation: 'high', needs: 'full', score: fastDetectGpt },
  sampledDiscrepancy: {
    name: 'sampledDiscrepancy',
    orientation: 'high',
    needs: 'full',
    samples: true,
    score: sampledDiscrepancy,
  },
  logLikelihood: { name: 'logLikelihood', orientation: 'high', needs: 'logProb', score: logLikelihood },
  rank: { name: 'rank', orientation: 'low', needs: 'rank', score: rank },
  logRank: { name: 'logRank', orientation: 'low', needs: 'rank', score: logRank },
  entropy: { name: 'entropy', orientation: 'low', needs: 'full', score: entropy },
  lrr: { name: 'lrr', orientation: 'high', needs: 'rank', score: lrr },
  lastde: {
    name: 'lastde',
    orientation: 'high',
    needs: 'logProb',
    score: (statistics) => lastde(statistics),
  },
  lastdePlusPlus: {
    name: 'lastdePlusPlus',
    orientation: 'high',
    needs: 'full',
    samples: true,
    score: (statistics) => lastdePlusPlus(statistics),
  },
  gltr: {
    name: 'gltr',
    orientation: 'high',
    needs: 'rank',
    score: (statistics) => gltr(statistics).topShare,
  },
};

/** The detector of a name. */
export function detectorOf(name: DetectorName): Detector {
  if (Object.hasOwn(detectors, name)) return detectors[name];
  throw new DetectError({
    code: 'detect/bad-config',
    message: `expected one of ${Object.keys(detectors).join(', ')} for detector, got ${String(name)}`,
    value: name,
    remedy: 'pass the name of a detector',
  });
}
