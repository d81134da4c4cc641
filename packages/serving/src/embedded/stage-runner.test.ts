import { samplingPolicy } from '@moestack/model';
import type { StepPlan } from '@moestack/scheduler';
import { describe, expect, it } from 'vitest';
import type { SequenceSetup } from './protocol.js';
import { StageRunner, type StageRuntime } from './stage-runner.js';
import { StepBuffer } from './step-buffer.js';

const vocabulary = 8;

/** The model's favourite after token t at position p is (t + p) mod 8; all else follows at distance. */
function logitsOf(token: number, position: number): number[] {
  const favourite = (token + position) % vocabulary;
  return Array.from({ length: vocabulary }, (_, id) => -((id - favourite + vocabulary) % vocabulary));
}

const runtime: StageRuntime = {
  limits: { vocabulary, maxBatchTokens: 32, maxSequences: 4 },
  forward(batch) {
    const rows: number[] = [];
    for (let i = 0; i < batch.sequences; i++) {
      const last = batch.tokenOffsets[i + 1]! - 1;
      rows.push(...logitsOf(batch.tokens[last]!, batch.contextStarts[i]! + last - batch.tokenOffsets[i]!));
    }
    return Float32Array.from(rows);
  },
  forwardAll(batch) {
    const rows: number[] = [];
    for (let i = 0; i < batch.sequences; i++) {
      for (let t = batch.tokenOffsets[i]!; t < batch.tokenOffsets[i + 1]!; t++) {
        rows.push(...logitsOf(batch.tokens[t]!, batch.contextStarts[i]! + t - batch.tokenOffsets[i]!));
      }
    }
    return Float32Array.from(rows);
  },
};

const setup = (overrides: Partial<SequenceSetup> = {}): SequenceSetup => ({
  capacity: 16,
  promptTokens: 3,
  sampling: samplingPolicy({ temperature: 0 }),
  ignoreEos: false,
  logprobs: -1,
  promptLogprobs: -1,
  ...overrides,
});

function step(rows: readonly { id: number; start: number; count: number; samples: number }[]): StepBuffer {
  const buffer = StepBuffer.create({ maxSequences: 4, maxBlocks: 2 });
  const plan: StepPlan = {
    stepId: 0,
    stage: 0,
    kind: 'compute',
    sequences: rows.length,
    requestIds: Int32Array.from(rows, (row) => row.id),
    tokenCounts: Int32Array.from(rows, (row) => row.count),
    contextStarts: Int32Array.from(rows, (row) => row.start),
    samples: Uint8Array.from(rows, (row) => row.samples),
    ranks: new Int32Array(rows.length),
    sourceRanks: new Int32Array(0),
    blockTables: new Int32Array(rows.length * 2),
    blockTableStride: 2,
    sourceBlockTables: new Int32Array(0),
    sourceStage: -1,
    blockCounts: Int32Array.from(rows, () => 1),
    fusedSteps: 1,
    microBatches: 1,
    microBatchOf: new Uint8Array(rows.length),
    decodeSequences: 0,
    prefillTokens: 0,
  };
  buffer.write(plan);
  return new StepBuffer(buffer.shared, buffer.shape);
}

describe('StageRunner', () => {
  it('continues each history, in chunks as in one piece', () => {
    const runner = new StageRunner(runtime, []);
    const prompt = Int32Array.of(1, 2, 3);
    runner.tokens(7, 0, prompt, setup());
    runner.tokens(9, 0, prompt, setup());
    const chunk = step([{ id: 9, start: 0, count: 2, samples: 0 }]);
    runner.run(chunk);
    expect(chunk.tokens[0]).toBe(-1);
    const both = step([
      { id: 7, start: 0, count: 3, samples: 1 },
      { id: 9, start: 2, count: 1, samples: 1 },
    ]);
    runner.run(both);
    expect([...both.tokens.subarray(0, 2)]).toEqual([5, 5]);
    const next = step([{ id: 7, start: 3, count: 1, samples: 1 }]);
    runner.run(next);
    expect(next.tokens[0]).toBe((5 + 3) % vocabulary);
  });

  it('marks the end-of-text token, unless told to ignore it', () => {
    const runner = new StageRunner(runtime, [5]);
    runner.tokens(0, 0, Int32Array.of(1, 2, 3), setup());
    runner.tokens(1, 0, Int32Array.of(1, 2, 3), setup({ ignoreEos: true }));
    const buffer = step([0, 1].map((id) => ({ id, start: 0, count: 3, samples: 1 })));
    runner.run(buffer);
    expect([...buffer.finished.subarray(0, 2)]).toEqual([1, 0]);
  });

  it('draws the same token for the same seed and place, whatever came before on this rank', () => {
    const sampling = samplingPolicy({ temperature: 1.5, seed: 42 });
    const draw = (before: number) => {
      const runner = new StageRunner(runtime, []);
      for (let id = 0; id <= before; id++) {
        runner.tokens(id, 0, Int32Array.of(1, 2, 3), setup({ sampling }));
        const buffer = step([{ id, start: 0, count: 3, samples: 1 }]);
        runner.run(buffer);
        if (id === before) return buffer.tokens[0];
      }
      return undefined;
    };
    expect(draw(3)).toBe(draw(0));
  });

  it('scores prompt tokens by what came before them, across chunks', () => {
    const runner = new StageRunner(runtime, []);
    const prompt = Int32Array.of(1, 2, 3);
    runner.tokens(0, 0, prompt, setup({ promptLogprobs: 1, logprobs: 0 }));
    const first = runner.run(step([{ id: 0, start: 0, count: 2, samples: 0 }])) ?? [];
    const second = runner.run(step([{ id: 0, start: 2, count: 1, samples: 1 }])) ?? [];
    expect(first.map((entry) => entry.position)).toEqual([1, 2]);
    expect(second.map((entry) => entry.position)).toEqual([3]);
    expect([...first[0]!.topTokens]).toEqual([1]);
    const z = Array.from({ length: vocabulary }, (_, i) => Math.exp(-i)).reduce((a, b) => a + b);
    expect(first[0]?.logprob).toBeCloseTo(-1 - Math.log(z), 6);
  });

  it('fails on a request it does not know, by name', () => {
    const runner = new StageRunner(runtime, []);
    expect(() => runner.run(step([{ id: 4, start: 0, count: 1, samples: 1 }]))).toThrow('request 4');
    runner.tokens(4, 0, Int32Array.of(1), setup());
    runner.release(4);
    expect(() => runner.tokens(4, 1, Int32Array.of(1), undefined)).toThrow('request 4');
  });
});
