import { TrainConfig, type TrainEvent } from '@moestack/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TrainingError } from '../errors.js';
import { compareRuns, recipeName } from './compare-runs.js';
import { parseRunLog, type Run } from './run-log.js';
import { trainingPage } from './training-page.js';

const steps = 200;

function configOf(recipe: TrainConfig['recipe'] | { name: string }, seed: number): TrainConfig {
  return TrainConfig.parse({
    schemaVersion: 1,
    name: `${recipe.name}-<${seed}>`,
    model: {
      vocabularySize: 512,
      hiddenSize: 64,
      layers: 3,
      heads: 2,
      keyValueRank: 16,
      nopeDims: 16,
      ropeDims: 8,
      valueDims: 16,
      denseWidth: 128,
      experts: 8,
      topK: 2,
      expertWidth: 32,
    },
    recipe,
    steps,
    batchSequences: 4,
    contextTokens: 64,
    seeds: { weights: seed, data: 1 },
  });
}

function stepEvent(step: number, loss: number): Extract<TrainEvent, { type: 'step' }> {
  return {
    type: 'step',
    step,
    tokens: step * 256,
    loss,
    gradientNorm: 1 + 1 / step,
    learningRate: 1e-3 * Math.min(1, step / 20),
    gamma: 0.01,
    maxVio: [0.3 + 1 / step, 0.2 + 2 / step],
    tokensPerSecond: 1500,
    seconds: 0.17,
  };
}

const start = (firstStep: number): TrainEvent => ({
  type: 'start',
  schemaVersion: 1,
  name: 'run',
  firstStep,
  parameters: 123_456,
  activeParameters: 65_432,
  savedBytesPerToken: 900,
  bf16BytesPerToken: 1800,
});

function runOf(recipe: string, seed: number, factor: number): Run {
  const events: TrainEvent[] = [start(0)];
  for (let step = 1; step <= steps; step++)
    events.push(stepEvent(step, factor * (3 + 0.001 * seed + 3 * Math.exp(-step / 40))));
  events.push({ type: 'end', step: steps, tokens: steps * 256, loss: 3, reason: 'complete' });
  const text = `${events.map((event) => JSON.stringify(event)).join('\n')}\n`;
  return { config: configOf({ name: recipe }, seed), log: parseRunLog(text) };
}

const runs = [1, 2, 3].flatMap((seed) => [
  runOf('bf16', seed, 1),
  runOf('deepseek-v3', seed, 1.001),
  runOf('current', seed, seed === 2 ? 0.99 : 1.01),
]);

describe('parseRunLog', () => {
  const lines = (...events: TrainEvent[]) => events.map((event) => `${JSON.stringify(event)}\n`).join('');

  it('counts steps that were done again once, as they were last', () => {
    const text =
      lines(start(0), stepEvent(1, 5), stepEvent(2, 4), stepEvent(3, 3.5)) +
      lines(start(1), stepEvent(2, 4.1));
    const { steps: read, end } = parseRunLog(text);
    expect(read.map(({ step, loss }) => [step, loss])).toEqual([
      [1, 5],
      [2, 4.1],
    ]);
    expect(end).toBeUndefined();
  });

  it('passes over a line that a killed process left, at the end alone', () => {
    const torn = '{"type":"step","st';
    expect(parseRunLog(lines(start(0), stepEvent(1, 5)) + torn).steps).toHaveLength(1);
    expect(() => parseRunLog(`${torn}\n${lines(start(0))}`)).toThrow(/line 1 is no JSON/);
    expect(() => parseRunLog('{"type":"step","step":1}\n')).toThrow(
      expect.objectContaining({ code: 'training/bad-log' }),
    );
  });

  it('throws nothing but typed errors', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json().map((json) => `${json}\n`),
        ),
        (text) => {
          try {
            parseRunLog(text);
          } catch (error) {
            expect(TrainingError.isInstance(error)).toBe(true);
          }
        },
      ),
      { numRuns: 500, seed: 3 },
    );
  });
});

describe('compareRuns', () => {
  const comparison = compareRuns(runs);

  it('gives the relative loss error of each recipe against the same seeds', () => {
    const [deepseek, current] = comparison.recipes;
    expect(comparison.recipes.map(({ recipe }) => recipe)).toEqual(['deepseek-v3', 'current']);
    expect(deepseek!.seeds).toHaveLength(3);
    for (const { relativeError, steps: count } of deepseek!.seeds) {
      expect(relativeError).toBeCloseTo(0.001, 12);
      expect(count).toBe(40);
    }
    expect(current!.meanRelativeError).toBeCloseTo(0.01 / 3, 12);
    expect(current!.meanAbsoluteError).toBeCloseTo(0.01, 12);
  });

  it('gives the spread of the baseline between seeds', () => {
    const tail =
      3 + 3 * (Array.from({ length: 40 }, (_, i) => Math.exp(-(161 + i) / 40)).reduce((a, b) => a + b) / 40);
    expect(comparison.baselineSeeds).toBe(3);
    expect(comparison.baselineRange).toBeCloseTo(0.002 / (tail + 0.002), 10);
    expect(comparison.baselineDeviation).toBeCloseTo(0.001 / (tail + 0.002), 10);
    expect(compareRuns(runs.slice(0, 2)).baselineRange).toBeUndefined();
  });

  it('compares nothing with runs of other seeds', () => {
    expect(compareRuns([runOf('bf16', 1, 1), runOf('current', 2, 1)]).recipes).toEqual([]);
  });
});

describe('recipeName', () => {
  it('names what differs from the plain recipe', () => {
    const recipe = configOf({ name: 'deepseek-v3' }, 1).recipe;
    expect(recipeName(recipe)).toBe('deepseek-v3');
    expect(recipeName({ ...recipe, accumulate: 'hopper', promoteEvery: 1e9 })).toBe(
      'deepseek-v3, hopper, never promoted',
    );
    expect(recipeName({ ...recipe, gradientBlocks: true })).toContain('128x128');
  });
});

describe('trainingPage', () => {
  it('is one page without scripts or addresses that shows one run', () => {
    const page = trainingPage([runs[0]!]);
    for (const text of [
      'Loss (nats per token)',
      'Gradient norm',
      'MaxVio per layer',
      'Learning rate',
      'layer 2',
    ])
      expect(page).toContain(text);
    expect(page).not.toMatch(/<script|https?:|src=|href=|NaN|undefined/);
    expect(page).toContain('bf16-&#60;1&#62;');
    expect(page).not.toContain('bf16-<1>');
  });

  it('lays runs over each other, with the error against the baseline', () => {
    const page = trainingPage(runs);
    expect(page).toContain('Loss against bf16');
    expect(page).toContain('0.100 %');
    expect(page).toContain('deepseek-v3: 0.100 %, below 0.25 %, not below the spread');
    expect(page).toContain('MaxVio, layer 1');
    expect(page).not.toMatch(/NaN|undefined/);
  });

  it('shows a run that has no step yet', () => {
    const empty = { config: runs[0]!.config, log: parseRunLog('') };
    expect(trainingPage([empty])).toContain('no data yet');
    expect(trainingPage([])).toContain('0 training runs');
  });
});
