import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CorpusConfig, TrainConfig } from '@moestack/schemas';
import { describe, expect, it } from 'vitest';

const folder = fileURLToPath(new URL('../configs', import.meta.url));
const json = (file: string): unknown => JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'));
const runsOf = (name: string): TrainConfig[] =>
  readdirSync(`${folder}/${name}`).map((file) => TrainConfig.parse(json(`${name}/${file}`)));
const tokensOf = ({ steps, batchSequences, contextTokens }: TrainConfig): number =>
  steps * batchSequences * contextTokens;

describe('the shipped configurations', () => {
  it('train the default model on the corpus', () => {
    const corpus = CorpusConfig.parse(json('corpus.json'));
    const config = TrainConfig.parse(json('default.json'));
    expect(tokensOf(config)).toBeGreaterThanOrEqual(10e6);
    expect(config.contextTokens).toBe(512);
    expect(config.model.vocabularySize).toBe(corpus.vocabularySize);
  });

  it('compare four recipes over three seeds, apart from these alike', () => {
    const runs = runsOf('experiment');
    expect(runs).toHaveLength(12);
    expect(new Set(runs.map(({ name }) => name)).size).toBe(12);
    for (const run of runs) expect(tokensOf(run)).toBeGreaterThanOrEqual(0.5e6);
    const rest = runs.map(({ name: _, recipe: __, seeds, ...same }) => ({
      ...same,
      data: seeds.data,
      files: same.data,
    }));
    for (const other of rest) expect(other).toEqual(rest[0]);
  });

  it('keep the short arms short', () => {
    const arms = runsOf('arms');
    for (const arm of arms) expect(tokensOf(arm)).toBeLessThanOrEqual(50e3);
    expect(arms.map(({ recipe }) => recipe.gradientBlocks).filter(Boolean)).toHaveLength(1);
  });
});
