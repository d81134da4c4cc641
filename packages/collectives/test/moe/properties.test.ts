import {
  combineMessage,
  createDispatcher,
  createLoopback,
  type Dispatcher,
  type DispatcherOptions,
  dispatchLayout,
  dispatchMessage,
  type LowLatencyDispatcher,
  type TrafficReport,
  uniformTopology,
} from '@moestack/collectives';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generator, randomSelections } from './random-routing.js';

const shapes = fc.record({
  nodes: fc.integer({ min: 1, max: 4 }),
  ranksPerNode: fc.integer({ min: 1, max: 4 }),
  expertsPerRank: fc.integer({ min: 1, max: 4 }),
  topK: fc.integer({ min: 1, max: 6 }),
  half: fc.integer({ min: 1, max: 5 }),
  maxTokens: fc.integer({ min: 1, max: 9 }),
  chunk: fc.double({ min: 0, max: 1, noNaN: true }),
  seed: fc.integer({ min: 1, max: 1 << 30 }),
  worstCase: fc.boolean(),
});
type Shape = typeof shapes extends fc.Arbitrary<infer T> ? T : never;

interface RankData {
  tokens: number;
  topkIdx: Int32Array;
  topkWeights: Float32Array;
  x: Float32Array;
}

/** Small integers and weights of 2^-k, so that sums are exact in any order. */
function dataOf(shape: Shape, duplicates: boolean): RankData[] {
  const random = generator(shape.seed);
  const ranks = shape.nodes * shape.ranksPerNode;
  return Array.from({ length: ranks }, () => {
    const tokens = Math.floor(random() * (shape.maxTokens + 1));
    const experts = ranks * shape.expertsPerRank;
    const topkIdx = randomSelections(random, { tokens, topK: shape.topK, experts, duplicates });
    return {
      tokens,
      topkIdx,
      topkWeights: Float32Array.from(topkIdx, () => 2 ** -Math.floor(random() * 4)),
      x: Float32Array.from({ length: tokens * shape.half * 2 }, () => Math.floor(random() * 64) - 32),
    };
  });
}

function optionsOf<Mode extends DispatcherOptions['mode']>(
  shape: Shape,
  mode: Mode,
): DispatcherOptions & { mode: Mode } {
  const ranks = shape.nodes * shape.ranksPerNode;
  const perPeer = shape.maxTokens * (mode === 'low-latency' ? shape.topK : 1);
  const worstCase = shape.worstCase && mode !== 'low-latency';
  return {
    mode,
    experts: ranks * shape.expertsPerRank,
    topK: shape.topK,
    hidden: shape.half * 2,
    maxTokensPerRank: shape.maxTokens,
    payload: 'f32',
    worstCase,
    ...(worstCase ? {} : { chunkTokens: 1 + Math.floor(shape.chunk * (perPeer - 1)) }),
  };
}

/** The expert of every id is the identity: rows come back times the sum of their weights; sums start at +0. */
function weightedSums(data: RankData, hidden: number, topK: number): Float32Array {
  const out = new Float32Array(data.tokens * hidden);
  for (let token = 0; token < data.tokens; token++) {
    let total = 0;
    for (let slot = token * topK; slot < (token + 1) * topK; slot++) {
      if (data.topkIdx[slot]! >= 0) total += data.topkWeights[slot]!;
    }
    for (let i = token * hidden; i < (token + 1) * hidden; i++) out[i] = 0 + data.x[i]! * total;
  }
  return out;
}

function runs(shape: Shape) {
  return createLoopback(shape.nodes * shape.ranksPerNode, {
    topology: uniformTopology(shape.nodes, shape.ranksPerNode),
  });
}

/** Token messages by link class that the selections of all ranks ask for, in closed form. */
function closedForm(shape: Shape, data: RankData[], mode: 'direct' | 'hierarchical' | 'low-latency') {
  const { nodes, ranksPerNode: local, topK } = shape;
  const ranks = nodes * local;
  const experts = ranks * shape.expertsPerRank;
  const sent = data.map(() => ({ self: 0, intra: 0, inter: 0 }));
  const add = (from: number, to: number, count: number) => {
    const link =
      from === to ? 'self' : Math.floor(from / local) === Math.floor(to / local) ? 'intra' : 'inter';
    sent[from]![link] += count;
  };
  for (const [source, { tokens, topkIdx }] of data.entries()) {
    const layout = dispatchLayout(topkIdx, tokens, { experts, topK, ranks, ranksPerNode: local });
    if (mode === 'low-latency') {
      for (const [expert, count] of layout.tokensPerExpert.entries()) {
        add(source, Math.floor(expert / shape.expertsPerRank), count);
      }
      continue;
    }
    for (const [rank, count] of layout.tokensPerRank.entries()) {
      const forwarder = Math.floor(rank / local) * local + (source % local);
      add(mode === 'direct' ? source : forwarder, rank, count);
    }
    if (mode === 'direct') continue;
    for (const [node, count] of (layout.tokensPerNode ?? []).entries()) {
      const forwarder = node * local + (source % local);
      if (forwarder !== source) add(source, forwarder, count);
    }
  }
  return sent;
}

function expectBytes(
  reports: TrafficReport[],
  expected: ReturnType<typeof closedForm>,
  size: number,
  way: 'sent' | 'received',
) {
  for (const [rank, report] of reports.entries()) {
    for (const link of ['self', 'intra', 'inter'] as const) {
      expect(report[way][link].bytes).toBe(expected[rank]![link] * size);
    }
  }
}

describe('any topology', () => {
  it.each(['direct', 'hierarchical'] as const)(
    '%s: identity experts return weighted sums; counters equal the closed form',
    async (mode) => {
      await fc.assert(
        fc.asyncProperty(shapes, async (shape) => {
          const data = dataOf(shape, true);
          const options = optionsOf(shape, mode);
          const { hidden, topK } = options;
          const results = await Promise.all(
            runs(shape).map(async (comm) => {
              const dispatcher: Dispatcher = await createDispatcher(comm, options);
              const mine = data[comm.rank]!;
              const { rows, x, topkIdx, topkWeights, srcRank, srcIdx, handle } = await dispatcher.dispatch({
                x: mine.x,
                topkIdx: mine.topkIdx,
                topkWeights: mine.topkWeights,
                tokens: mine.tokens,
              });
              const y = new Float32Array(rows * hidden);
              for (let row = 0; row < rows; row++) {
                const [source, token] = [srcRank[row]!, srcIdx[row]!];
                if (row > 0) expect(srcRank[row - 1]! < source || srcIdx[row - 1]! < token).toBe(true);
                const original = data[source]!.x.subarray(token * hidden, (token + 1) * hidden);
                expect(x.subarray(row * hidden, (row + 1) * hidden)).toEqual(original);
                let total = 0;
                for (let slot = row * topK; slot < (row + 1) * topK; slot++) {
                  if (topkIdx[slot]! >= 0) total += topkWeights[slot]!;
                }
                for (let i = 0; i < hidden; i++) y[row * hidden + i] = original[i]! * total;
              }
              const { x: out } = await dispatcher.combine({ handle, x: y });
              expect(out.slice(0, mine.tokens * hidden)).toEqual(weightedSums(mine, hidden, topK));
              await dispatcher.close();
              return {
                rows,
                dispatch: dispatcher.counters.dispatch.report(),
                combine: dispatcher.counters.combine.report(),
              };
            }),
          );
          const copies = closedForm(shape, data, 'direct');
          const total = copies.reduce((sum, { self, intra, inter }) => sum + self + intra + inter, 0);
          expect(results.reduce((sum, { rows }) => sum + rows, 0)).toBe(total);
          const expected = closedForm(shape, data, mode);
          const format = { mode, hidden, topK, payload: 'f32', combinePayload: 'f32' } as const;
          expectBytes(
            results.map((r) => r.dispatch),
            expected,
            dispatchMessage(format).bytes,
            'sent',
          );
          expectBytes(
            results.map((r) => r.combine),
            expected,
            combineMessage(format).bytes,
            'received',
          );
        }),
        { seed: 5, numRuns: 60 },
      );
    },
  );

  it('low-latency: identity experts return weighted sums; counters equal the closed form', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async (shape) => {
        const data = dataOf(shape, false);
        const options = optionsOf(shape, 'low-latency');
        const { hidden, topK } = options;
        const results = await Promise.all(
          runs(shape).map(async (comm) => {
            const dispatcher: LowLatencyDispatcher = await createDispatcher(comm, options);
            const mine = data[comm.rank]!;
            const { x, counts, rowsPerExpert, handle } = await dispatcher.dispatch({
              x: mine.x,
              topkIdx: mine.topkIdx,
              tokens: mine.tokens,
            });
            expect(x.length).toBe(counts.length * rowsPerExpert * hidden);
            const { x: out } = await dispatcher.combine({
              handle,
              x: x as Float32Array,
              topkWeights: mine.topkWeights,
            });
            expect(out.slice(0, mine.tokens * hidden)).toEqual(weightedSums(mine, hidden, topK));
            await dispatcher.close();
            return {
              dispatch: dispatcher.counters.dispatch.report(),
              combine: dispatcher.counters.combine.report(),
            };
          }),
        );
        const expected = closedForm(shape, data, 'low-latency');
        const format = { mode: 'low-latency', hidden, topK, payload: 'f32', combinePayload: 'f32' } as const;
        expectBytes(
          results.map((r) => r.dispatch),
          expected,
          dispatchMessage(format).bytes,
          'sent',
        );
        expectBytes(
          results.map((r) => r.combine),
          expected,
          combineMessage(format).bytes,
          'received',
        );
      }),
      { seed: 6, numRuns: 60 },
    );
  });

  it('direct and hierarchical give the same rows in the same order', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async (shape) => {
        const data = dataOf(shape, true);
        const both = await Promise.all(
          (['direct', 'hierarchical'] as const).map((mode) =>
            Promise.all(
              runs(shape).map(async (comm) => {
                const dispatcher: Dispatcher = await createDispatcher(comm, optionsOf(shape, mode));
                const mine = data[comm.rank]!;
                const result = await dispatcher.dispatch({
                  x: mine.x,
                  topkIdx: mine.topkIdx,
                  topkWeights: mine.topkWeights,
                  tokens: mine.tokens,
                });
                await dispatcher.close();
                const { rows } = result;
                return {
                  rows,
                  x: result.x.slice(0, rows * shape.half * 2),
                  topkIdx: result.topkIdx.slice(0, rows * shape.topK),
                  topkWeights: result.topkWeights.slice(0, rows * shape.topK),
                  srcRank: result.srcRank.slice(0, rows),
                  srcIdx: result.srcIdx.slice(0, rows),
                  tokensPerExpert: [...result.tokensPerExpert],
                };
              }),
            ),
          ),
        );
        expect(both[0]).toEqual(both[1]);
      }),
      { seed: 7, numRuns: 40 },
    );
  });
});
