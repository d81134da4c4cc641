import { TrainConfig } from '@moestack/schemas';

type Model = Partial<TrainConfig['model']>;

/** A complete configuration of a network with every kind of parameter, small enough for scalar references. */
export function tinyConfig(
  changes: Partial<Omit<TrainConfig, 'recipe' | 'model'>> & { recipe?: string; model?: Model } = {},
): TrainConfig {
  const { recipe = 'f32', model = {}, ...rest } = changes;
  return TrainConfig.parse({
    schemaVersion: 1,
    name: 'tiny',
    model: {
      vocabularySize: 37,
      hiddenSize: 24,
      layers: 3,
      denseLayers: 1,
      heads: 2,
      queryRank: 12,
      keyValueRank: 10,
      nopeDims: 8,
      ropeDims: 4,
      valueDims: 6,
      denseWidth: 40,
      experts: 8,
      topK: 3,
      groups: 4,
      topKGroups: 2,
      expertWidth: 14,
      sharedExperts: 1,
      routedScalingFactor: 1.5,
      ...model,
    },
    recipe: { name: recipe },
    steps: 20,
    batchSequences: 2,
    contextTokens: 7,
    seeds: { weights: 1, data: 2 },
    ...rest,
  });
}

/** A reproducible batch `[sequences, context + 1]` of ids that depend on those before them. */
export function syntheticBatch(config: TrainConfig, step: number, rank: number): Int32Array {
  const sequences = config.batchSequences / config.ranks;
  const length = config.contextTokens + 1;
  const { vocabularySize } = config.model;
  const out = new Int32Array(sequences * length);
  let state = (Math.imul(step + 1, 0x9e3779b9) ^ Math.imul(rank + 1, 0x85ebca6b) ^ config.seeds.data) >>> 0;
  for (let s = 0; s < sequences; s++) {
    let id = 0;
    for (let t = 0; t < length; t++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      // Mostly a fixed successor, sometimes a jump: there is structure to learn.
      id = state >>> 29 === 0 ? (state >>> 8) % vocabularySize : (id * 5 + 3) % vocabularySize;
      out[s * length + t] = id;
    }
  }
  return out;
}
