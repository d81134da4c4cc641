import type { StageName } from '@moestack/model';
import { describe, expect, it } from 'vitest';
import { phasesOf } from './step-phases.js';

/** Stages one after the other, 10 microseconds each, from 1000 on. */
function stages(...names: [stage: StageName, layer: number, microBatch: number][]) {
  return names.map(([stage, layer, microBatch], i) => ({
    stage,
    layer,
    microBatch,
    startUs: 1000 + 10 * i,
    endUs: 1010 + 10 * i,
  }));
}

describe('phasesOf', () => {
  it('joins neighbours of one phase, layer and micro-batch, and counts from the origin', () => {
    const records = stages(
      ['attentionProject', 0, 0],
      ['attentionCore', 0, 0],
      ['attentionCore', 0, 1],
      ['gate', 0, 0],
      ['dispatchSend', 0, 0],
      ['shared', 0, 0],
      ['dispatchReceive', 0, 0],
      ['experts', 0, 0],
      ['combineSend', 0, 0],
      ['combineReceive', 0, 0],
      ['combineReceive', 1, 0],
    );
    const phases = phasesOf(records, 1110);
    expect(phases.map(({ phase, layer, microBatch }) => `${phase} ${layer} ${microBatch}`)).toEqual([
      'attention 0 0',
      'attention 0 1',
      'experts 0 0',
      'dispatch 0 0',
      'experts 0 0',
      'dispatch 0 0',
      'experts 0 0',
      'combine 0 0',
      'combine 1 0',
    ]);
    expect(phases[0]).toMatchObject({ startUs: -110, endUs: -90 });
    expect(phases.at(-1)).toMatchObject({ startUs: -10, endUs: 0 });
    expect(phases.reduce((sum, { startUs, endUs }) => sum + endUs - startUs, 0)).toBe(110);
  });

  it('keeps a bounded number', () => {
    const many = Array.from({ length: 5000 }, (_, layer): [StageName, number, number] => ['gate', layer, 0]);
    expect(phasesOf(stages(...many), 0)).toHaveLength(1024);
    expect(phasesOf([], 0)).toEqual([]);
  });
});
