import { DetectError } from '../errors.js';
import type { Detector } from '../scores/detectors.js';
import type { Capability, LanguageModel } from './language-model.js';

/** The models of a score; detectors that need one model use the performer. */
export interface ModelPair {
  /** The model that scores. */
  readonly performer: LanguageModel;
  /** Binoculars' observer, Fast-DetectGPT's reference model; same tokenizer as the performer. */
  readonly observer?: LanguageModel;
}

/** Whether models of these capabilities can serve a detector. */
export function canServe(
  detector: Detector,
  performer: Capability,
  observer: Capability | undefined,
): boolean {
  const full =
    performer.distribution === 'full' && (observer === undefined || observer.distribution === 'full');
  switch (detector.needs) {
    case 'pair':
      return full && observer !== undefined;
    case 'full':
      return full;
    case 'rank':
      return performer.distribution === 'full' || performer.rank;
    case 'logProb':
      return true;
  }
}

/** Throws `detect/capability` unless the models can serve the detector. */
export function needCapability(detector: Detector, models: ModelPair): void {
  const { performer, observer } = models;
  if (canServe(detector, performer.capability, observer?.capability)) return;
  const wanted = {
    pair: 'full distributions of two models (observer and performer)',
    full: 'full distributions',
    rank: 'token ranks',
    logProb: 'log-probabilities',
  }[detector.needs];
  const given = [performer, ...(observer === undefined ? [] : [observer])]
    .map((model) => `${model.identity.name}: ${describe(model.capability)}`)
    .join(', ');
  throw new DetectError({
    code: 'detect/capability',
    message: `expected ${wanted} for ${detector.name}, got ${given}`,
    value: { detector: detector.name, needs: detector.needs, given },
    remedy:
      detector.needs === 'rank'
        ? 'use a source that gives ranks, or a detector that needs log-probabilities only'
        : 'use models with full logits; from top-K log-probabilities glimpse() gives estimates with bounds',
  });
}

function describe(capability: Capability): string {
  if (capability.distribution === 'full') return 'full';
  const rank = capability.rank ? ' + rank' : '';
  return capability.distribution === 'topK' ? `top ${capability.topK}${rank}` : `token only${rank}`;
}
