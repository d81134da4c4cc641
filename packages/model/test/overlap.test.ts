import { createLoopback, withLinkModel } from '@moestack/collectives';
import { fixturePath } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openRuntime, StageTrace, type StepBatch, stageSchedules, tensorSchedules } from '../src/index.js';
import { BatchSplitter } from '../src/micro-batches.js';
import { maxAbs } from './golden.js';

const directory = fixturePath('routing-model/tiny-v3');
const LAYERS = 4;
const SIZES = { blocks: 64, maxBatchTokens: 96, maxSequences: 8, maxContextTokens: 128 };
const tokens = Int32Array.from({ length: 96 }, (_, i) => (i * 37 + 11) % 96);

/** Sequences of these lengths behind contexts of these, each with 8 blocks of its own. */
function batchOf(lengths: readonly number[], starts: readonly number[] = lengths.map(() => 0)): StepBatch {
  const tokenOffsets = Int32Array.from([0, ...lengths]);
  for (let s = 1; s < tokenOffsets.length; s++) tokenOffsets[s] = tokenOffsets[s]! + tokenOffsets[s - 1]!;
  return {
    sequences: lengths.length,
    tokens: tokens.slice(0, tokenOffsets.at(-1)),
    tokenOffsets,
    contextStarts: Int32Array.from(starts),
    blockTables: Int32Array.from({ length: lengths.length * 8 }, (_, i) => i),
    blockTableStride: 8,
  };
}

async function open(
  ranks: number,
  routing: object,
  options: object = {},
  link?: { alphaSeconds: number; bytesPerSecond: number },
) {
  const communicators = createLoopback(ranks).map((comm) => (link ? withLinkModel(comm, link) : comm));
  const runtimes = await Promise.all(
    communicators.map((communicator) =>
      openRuntime(directory, {
        ...SIZES,
        microBatches: 2,
        ...options,
        parallel: { ...routing, communicator },
      }),
    ),
  );
  const step = (batches: readonly StepBatch[], overlap: 'none' | 'prefill' | 'decode') =>
    Promise.all(
      runtimes.map(async (runtime, rank) =>
        (await runtime.forwardAsync(batches[rank]!, { overlap, all: true })).slice(),
      ),
    );
  return { runtimes, step, close: () => Promise.all(runtimes.map((runtime) => runtime.close())) };
}

const routings = [
  { mode: 'direct', payload: 'f32' },
  { mode: 'direct', payload: 'fp8' },
  { mode: 'low-latency', payload: 'bf16' },
];

describe.each(routings)('two micro-batches, $mode $payload', (routing) => {
  it('give the bits of one batch, in prefill and decode, on ranks with any number of sequences', async () => {
    const group = await open(4, routing);
    const prompts = [batchOf([20, 7, 30]), batchOf([11]), batchOf([]), batchOf([4, 9])];
    const next = [batchOf([1, 1, 1], [20, 7, 30]), batchOf([1], [11]), batchOf([]), batchOf([1, 1], [4, 9])];
    const prefilled = await group.step(prompts, 'none');
    const decoded = await group.step(next, 'none');
    for (const overlap of ['prefill', 'decode'] as const) {
      for (const [rank, logits] of (await group.step(prompts, overlap)).entries()) {
        expect(maxAbs(logits, prefilled[rank]!)).toBe(0);
      }
      for (const [rank, logits] of (await group.step(next, overlap)).entries()) {
        expect(maxAbs(logits, decoded[rank]!)).toBe(0);
      }
    }
    await group.close();
  });
});

describe('two micro-batches', () => {
  it('give the bits of one batch over a slow network', async () => {
    const link = { alphaSeconds: 5e-4, bytesPerSecond: 1e8 };
    const group = await open(2, {}, {}, link);
    const prompts = [batchOf([20, 7]), batchOf([11, 9])];
    const expected = await group.step(prompts, 'none');
    const logits = await group.step(prompts, 'prefill');
    for (const rank of [0, 1]) expect(maxAbs(logits[rank]!, expected[rank]!)).toBe(0);
    await group.close();
  });

  it('give the bits of one batch on one rank', async () => {
    const runtime = await openRuntime(directory, { ...SIZES, microBatches: 2 });
    const batch = batchOf([20, 7, 30]);
    const expected = runtime.forward(batch).slice();
    expect(maxAbs(runtime.forward(batch, { overlap: 'prefill' }), expected)).toBe(0);
    expect(maxAbs(runtime.forward(batch, { overlap: 'decode' }), expected)).toBe(0);
    await runtime.close();
  });

  it('are refused where the runtime has room for one', async () => {
    const runtime = await openRuntime(directory, SIZES);
    const refusal = expect.objectContaining({ code: 'model/bad-options' });
    expect(() => runtime.forward(batchOf([4, 4]), { overlap: 'prefill' })).toThrow(refusal);
    await expect(openRuntime(directory, { ...SIZES, microBatches: 3 as 2 })).rejects.toEqual(refusal);
    await runtime.close();
  });

  it('are split inside a sequence where no boundary is near the middle, and give the logits of one batch', async () => {
    for (const attention of ['naive', 'absorbed'] as const) {
      const group = await open(2, {}, { attention });
      const batches = [batchOf([60]), batchOf([5, 50, 3])];
      const expected = await group.step(batches, 'none');
      const found = await group.step(batches, 'prefill');
      for (const rank of [0, 1]) expect(maxAbs(found[rank]!, expected[rank]!)).toBe(0);
      const next = [batchOf([1], [60]), batchOf([1, 1, 1], [5, 50, 3])];
      const after = await group.step(next, 'none');
      await group.step(batches, 'none');
      for (const [rank, logits] of (await group.step(next, 'none')).entries()) {
        expect(maxAbs(logits, after[rank]!)).toBe(0);
      }
      await group.close();
    }
  });

  it('keep order and positions wherever a batch is split', () => {
    const splitter = new BatchSplitter({ ...SIZES, vocabulary: 96, blockSizeTokens: 16 });
    const sequence = fc.record({
      length: fc.integer({ min: 1, max: 40 }),
      start: fc.integer({ min: 0, max: 40 }),
    });
    fc.assert(
      fc.property(fc.array(sequence, { minLength: 1, maxLength: 8 }), (sequences) => {
        const kept = sequences.filter(
          (_, i) =>
            sequences.slice(0, i + 1).reduce((sum, one) => sum + one.length, 0) <= SIZES.maxBatchTokens,
        );
        const batch = batchOf(
          kept.map((one) => one.length),
          kept.map((one) => one.start),
        );
        const total = batch.tokenOffsets[batch.sequences]!;
        const tokens = splitter.split(batch, true);
        // Row of the block table and position of every token, in order.
        const places = (part: StepBatch) =>
          Array.from({ length: part.sequences }, (_, s) => {
            const first = part.tokenOffsets[s]!;
            const table = part.blockTables[s * part.blockTableStride]!;
            return Array.from(part.tokens.subarray(first, part.tokenOffsets[s + 1]!), (token, i) =>
              [table, part.contextStarts[s]! + i, token].join(),
            );
          }).flat();
        expect([...places(splitter.first), ...places(splitter.second)]).toEqual(places(batch));
        expect(splitter.first.tokenOffsets[splitter.first.sequences]).toBe(tokens);
        if (total >= 32) expect(Math.abs(tokens - total / 2)).toBeLessThanOrEqual(total / 8);
      }),
      { seed: 6, numRuns: 300 },
    );
  });

  it('are what ranks agree on where waiting is long, and not where it is short', async () => {
    const link = { alphaSeconds: 8e-3, bytesPerSecond: 1e9 };
    const group = await open(2, {}, {}, link);
    const batches = [batchOf([40, 40]), batchOf([])];
    const expected = await group.step(batches, 'none');
    const chosen: string[] = [];
    for (let step = 0; step < 8; step++) {
      const logits = await Promise.all(
        group.runtimes.map((runtime, rank) => runtime.forwardAsync(batches[rank]!, { all: true })),
      );
      expect(maxAbs(logits[0]!, expected[0]!)).toBe(0);
      const [first, second] = group.runtimes.map((runtime) => runtime.lastStep.overlap);
      expect(first).toBe(second);
      chosen.push(first!);
    }
    expect(chosen.slice(0, 6)).toEqual(['none', 'none', 'none', 'prefill', 'prefill', 'prefill']);
    // Too few tokens for two.
    await Promise.all(
      group.runtimes.map((runtime) => runtime.forwardAsync(batchOf([4, 4]), { overlap: 'auto' })),
    );
    expect(group.runtimes.map((runtime) => runtime.lastStep.overlap)).toEqual(['none', 'none']);
    await group.close();
  });

  it('are split at the sequence boundary nearest to the middle', () => {
    const limits = { ...SIZES, vocabulary: 96, blockSizeTokens: 16 };
    const splitter = new BatchSplitter(limits);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 8 }), (lengths) => {
        const batch = batchOf(lengths);
        const total = batch.tokenOffsets.at(-1)!;
        const first = splitter.split(batch, false);
        const { second } = splitter;
        expect(splitter.first.sequences + second.sequences).toBe(lengths.length);
        expect(second.tokenOffsets[second.sequences]).toBe(total - first);
        expect([...second.tokens.subarray(0, total - first)]).toEqual([...batch.tokens.subarray(first)]);
        const best = Math.min(...batch.tokenOffsets.map((offset) => Math.abs(2 * offset - total)));
        expect(Math.abs(2 * first - total)).toBe(best);
        expect(second.blockTables[0]).toBe(second.sequences === 0 ? undefined : splitter.first.sequences * 8);
      }),
      { seed: 5, numRuns: 200 },
    );
  });
});

/** What the published figures show of one layer; layers with experts only. */
const COMPUTE: Record<string, string> = { attentionCore: 'ATTN', shared: 'SHARED', experts: 'MLP' };
const DECODE: Record<string, string> = { ...COMPUTE, attentionProject: 'ATTN-0', attentionCore: 'ATTN-1' };
const COMMUNICATION: Record<string, string> = { dispatchSend: 'DISPATCH', combineSend: 'COMBINE' };

async function traced(overlap: 'prefill' | 'decode') {
  const trace = new StageTrace();
  const runtime = await openRuntime(directory, { ...SIZES, microBatches: 2, trace });
  runtime.forward(batchOf([20, 7]), { overlap });
  await runtime.close();
  const named = (names: Record<string, string>) =>
    trace.records
      .filter(({ stage }) => names[stage] !== undefined)
      .map(({ stage, microBatch, layer }) => ({ layer, name: `${names[stage]}(${microBatch})` }));
  return { trace, named };
}

describe('the order of stages', () => {
  it('is the published one in prefill', async () => {
    const { trace, named } = await traced('prefill');
    const compute = named(COMPUTE).map(({ name }) => name);
    const cycle = ['ATTN(1)', 'SHARED(0)', 'ATTN(0)', 'MLP(1)', 'MLP(0)', 'SHARED(1)'];
    const cycles = Array.from({ length: LAYERS }, () => cycle).flat();
    // The first layer has no layer before it, the last one ends with what belongs to the next cycle.
    expect(compute).toEqual([...cycles.slice(0, 1), ...cycles.slice(2), 'SHARED(0)']);
    const sent = named(COMMUNICATION).map(({ name }) => name);
    const sends = ['DISPATCH(1)', 'DISPATCH(0)', 'COMBINE(1)', 'COMBINE(0)'];
    expect(sent).toEqual(Array.from({ length: LAYERS }, () => sends).flat());
    expect(trace.records).toHaveLength(2 * 9 * LAYERS);
  });

  it('is the published one where ranks share heads, whose messages travel while the other micro-batch computes', () => {
    const begins = { ...COMPUTE, attentionProject: 'ATTN', attentionCore: undefined };
    const order = (names: Record<string, string | undefined>, stages = tensorSchedules.prefill.stages) =>
      stages.flatMap(({ stage, microBatch }) =>
        names[stage] === undefined ? [] : [`${names[stage]}(${microBatch})`],
      );
    expect(order(begins)).toEqual(['ATTN(1)', 'SHARED(0)', 'ATTN(0)', 'MLP(1)', 'MLP(0)', 'SHARED(1)']);
    expect(order(COMMUNICATION)).toEqual(order(COMMUNICATION, stageSchedules.prefill.stages));
    expect(order(DECODE, tensorSchedules.decode.stages)).toEqual(order(DECODE, stageSchedules.decode.stages));
    const between = (from: string, to: string, microBatch: number) => {
      const { stages } = tensorSchedules.prefill;
      const at = (name: string) =>
        stages.findIndex((one) => one.stage === name && one.microBatch === microBatch);
      return stages.slice(at(from) + 1, at(to)).map((one) => `${one.stage}(${one.microBatch})`);
    };
    expect(between('attentionProject', 'attentionGather', 1)).toEqual(['shared(0)']);
    expect(between('attentionCore', 'attentionReduce', 1)).toEqual([
      'combineReceive(0)',
      'attentionProject(0)',
    ]);
    expect(between('attentionProject', 'attentionGather', 0)).toContain('gate(1)');
    expect(between('attentionCore', 'attentionReduce', 0)).toEqual(['dispatchReceive(1)']);
  });

  it('lets each message travel while the other micro-batch computes', async () => {
    const during = async (overlap: 'prefill' | 'decode', names: Record<string, string>) => {
      const { trace } = await traced(overlap);
      const seen = new Map<string, Set<string>>();
      const flying = new Map<string, string>();
      for (const { stage, microBatch } of trace.records) {
        const what = stage.startsWith('dispatch') ? 'DISPATCH' : 'COMBINE';
        const key = `${what}(${microBatch})`;
        if (stage.endsWith('Send')) flying.set(key, key);
        else if (stage.endsWith('Receive')) flying.delete(key);
        else if (names[stage] !== undefined) {
          for (const message of flying.keys()) {
            if (!seen.has(message)) seen.set(message, new Set());
            seen.get(message)!.add(`${names[stage]}(${microBatch})`);
          }
        }
      }
      return Object.fromEntries([...seen].map(([key, stages]) => [key, [...stages].sort()]));
    };
    expect(await during('prefill', COMPUTE)).toEqual({
      'DISPATCH(1)': ['ATTN(0)', 'SHARED(0)'],
      'DISPATCH(0)': ['MLP(1)'],
      'COMBINE(1)': ['MLP(0)', 'SHARED(1)'],
      'COMBINE(0)': ['ATTN(1)', 'SHARED(0)', 'SHARED(1)'],
    });
    expect(await during('decode', DECODE)).toEqual({
      'DISPATCH(0)': ['ATTN-0(1)', 'SHARED(0)'],
      'COMBINE(0)': ['ATTN-1(1)'],
      'DISPATCH(1)': ['ATTN-0(0)', 'SHARED(1)'],
      'COMBINE(1)': ['ATTN-1(0)'],
    });
  });

  it('opens in trace viewers', async () => {
    const { trace } = await traced('decode');
    const { traceEvents } = JSON.parse(JSON.stringify(trace.toTraceEvents(3))) as {
      traceEvents: { ph: string; ts: number; dur: number; pid: number; tid: number; name: string }[];
    };
    expect(traceEvents).toHaveLength(trace.records.length);
    for (const event of traceEvents) {
      expect(event).toMatchObject({ ph: 'X', pid: 3 });
      expect(event.dur).toBeGreaterThanOrEqual(0);
    }
    trace.clear();
    expect(trace.toTraceEvents()).toEqual({ traceEvents: [] });
  });
});
