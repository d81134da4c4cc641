import { expect, it } from 'vitest';
import { styleFeatureNames, styleFeatures } from './style-features.js';

it('names every number of a text, and keeps them finite, also for a text of nothing', () => {
  expect(new Set(styleFeatureNames).size).toBe(styleFeatureNames.length);
  for (const text of [
    '',
    'One.',
    'The harbour, cold and still, kept its boats; nobody came. Then the bell rang twice.',
  ]) {
    const features = styleFeatures(text);
    expect(features).toHaveLength(styleFeatureNames.length);
    expect(features.every(Number.isFinite)).toBe(true);
  }
});
