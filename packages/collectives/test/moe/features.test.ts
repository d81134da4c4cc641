import {
  CollectivesError,
  CollectivesTimeoutError,
  type Communicator,
  createDispatcher,
  createLoopback,
  createTopology,
  type Dispatcher,
  type DispatcherOptions,
  dispatcherBytes,
  dispatchMessage,
  fromBf16,
  MismatchError,
  PeerFailureError,
  toBf16,
  uniformTopology,
} from '@moestack/collectives';
import { describe, expect, it } from 'vitest';
import { runExperts } from './experts.js';
import { GoldenCase } from './golden-case.js';
import { generator, randomSelections } from './random-routing.js';

const base = { experts: 8, topK: 3, hidden: 4, maxTokensPerRank: 6, payload: 'f32' } as const;
type NormalOptions = DispatcherOptions & { mode: 'direct' | 'hierarchical' };

async function onRanks<T>(
  options: NormalOptions,
  body: (dispatcher: Dispatcher, comm: Communicator) => Promise<T>,
): Promise<T[]> {
  return Promise.all(
    createLoopback(4, { topology: uniformTopology(2, 2) }).map(async (comm) => {
      const dispatcher = await createDispatcher(comm, options);
      const result = await body(dispatcher, comm);
      await dispatcher.close();
      return result;
    }),
  );
}

function tokensOf(rank: number, tokens: number, hidden: number, salt = 0): Float32Array {
  const random = generator(rank * 31 + salt);
  return Float32Array.from({ length: tokens * hidden }, () => random() * 2 - 1);
}

describe.each(['direct', 'hierarchical'] as const)('%s', (mode) => {
  it('keeps two micro-batches in flight', async () => {
    const results = await onRanks({ mode, ...base }, async (dispatcher, { rank }) => {
      const sent = [0, 1].map((batch) =>
        dispatcher.dispatchSend({
          x: tokensOf(rank, 5, 4, batch),
          topkIdx: randomSelections(generator(rank + 10 * batch), { tokens: 5, topK: 3, experts: 8 }),
        }),
      );
      expect(() => dispatcher.dispatchSend({ x: new Float32Array(0), topkIdx: new Int32Array(0) })).toThrow(
        expect.objectContaining({ code: 'collectives/busy' }),
      );
      const rows: Float32Array[] = [];
      for (const exchange of sent) {
        const { x, rows: count, handle } = await dispatcher.dispatchReceiveAsync(exchange);
        const combined = await dispatcher.combine({ handle, x: (x as Float32Array).slice(0, count * 4) });
        rows.push((combined.x as Float32Array).slice(0, 20));
      }
      return rows;
    });
    for (const [rank, rows] of results.entries()) {
      for (const [batch, got] of rows.entries()) {
        const selections = randomSelections(generator(rank + 10 * batch), { tokens: 5, topK: 3, experts: 8 });
        const x = tokensOf(rank, 5, 4, batch);
        for (let token = 0; token < 5; token++) {
          const chosen = [...selections.subarray(token * 3, token * 3 + 3)].filter((e) => e >= 0);
          const copies = new Set(chosen.map((expert) => expert >> 1)).size;
          for (let i = token * 4; i < token * 4 + 4; i++) expect(got[i]).toBeCloseTo(x[i]! * copies, 5);
        }
      }
    }
  });

  it('replays a handle without selections: the backward passes', async () => {
    await onRanks({ mode, ...base }, async (dispatcher, { rank }) => {
      const topkIdx = randomSelections(generator(rank), { tokens: 6, topK: 3, experts: 8 });
      const first = await dispatcher.dispatch({ x: tokensOf(rank, 6, 4), topkIdx });
      const kept = first.handle.retain();
      const [rows, sources] = [first.rows, first.srcIdx.slice(0, first.rows)];
      for (let other = 0; other < 3; other++) {
        await dispatcher.dispatch({ x: tokensOf(rank, 2, 4), topkIdx: new Int32Array(6).fill(other) });
      }
      expect(first.handle.valid).toBe(false);
      expect(() => dispatcher.combineSend({ handle: first.handle, x: new Float32Array(24) })).toThrow(
        expect.objectContaining({ code: 'collectives/bad-config' }),
      );
      const before = dispatcher.counters.control.report().sent;
      const gradient = tokensOf(rank, 6, 4, 5);
      const replayed = await dispatcher.dispatch({ x: gradient, handle: kept });
      expect(dispatcher.counters.control.report().sent).toEqual(before);
      expect(replayed.rows).toBe(rows);
      expect(replayed.srcIdx.slice(0, rows)).toEqual(sources);
      for (let row = 0; row < rows; row++) {
        const source = tokensOf(replayed.srcRank[row]!, 6, 4, 5);
        const token = replayed.srcIdx[row]!;
        expect(replayed.x.slice(row * 4, row * 4 + 4)).toEqual(source.slice(token * 4, token * 4 + 4));
      }
      const combined = await dispatcher.combine({ handle: replayed.handle, x: replayed.x as Float32Array });
      const again = await dispatcher.combine({ handle: kept, x: (replayed.x as Float32Array).slice() });
      expect(again.x.slice(0, 24)).toEqual(combined.x.slice(0, 24));
    });
  });

  it('carries FP8 rows and their scales unchanged', async () => {
    await onRanks({ mode, ...base, hidden: 256, payload: 'fp8' }, async (dispatcher, { rank }) => {
      const rowsOf = (source: number) => ({
        x: Uint8Array.from({ length: 6 * 256 }, (_, i) => (i * 7 + source) & 0xff),
        scales: Float32Array.from({ length: 12 }, (_, i) => i + source / 8),
      });
      const topkIdx = randomSelections(generator(rank), { tokens: 6, topK: 3, experts: 8 });
      const result = await dispatcher.dispatch({ ...rowsOf(rank), topkIdx });
      for (let row = 0; row < result.rows; row++) {
        const source = rowsOf(result.srcRank[row]!);
        const token = result.srcIdx[row]!;
        expect(result.x.slice(row * 256, row * 256 + 256)).toEqual(
          source.x.slice(token * 256, token * 256 + 256),
        );
        expect(result.scales!.slice(row * 2, row * 2 + 2)).toEqual(
          source.scales.slice(token * 2, token * 2 + 2),
        );
      }
      expect(result.rows).toBeGreaterThan(0);
    });
  });

  it('expands rows by expert and sums expert rows back', async () => {
    const golden = new GoldenCase('mini-4n2g-top8');
    const { config } = golden.file;
    const localExperts = config.num_experts / config.num_ranks;
    await Promise.all(
      createLoopback(8, { topology: uniformTopology(4, 2) }).map(async (comm) => {
        const dispatcher = await createDispatcher(comm, {
          mode,
          experts: config.num_experts,
          topK: config.num_topk,
          hidden: config.hidden,
          maxTokensPerRank: 12,
          expertAlignment: 4,
          expand: true,
          zeroPadding: true,
        });
        const result = await dispatcher.dispatch({
          x: golden.bf16(`in/${comm.rank}/x`),
          topkIdx: golden.i32(`in/${comm.rank}/topk_idx`),
          topkWeights: golden.f32(`in/${comm.rank}/topk_weights`),
        });
        const expanded = result.expanded!;
        const y = new Float32Array(expanded.rows * config.hidden);
        for (let e = 0; e < localExperts; e++) {
          const [start, end] = [expanded.expertOffsets[e]!, expanded.expertOffsets[e + 1]!];
          expect(start % 4).toBe(0);
          expect(end - start).toBe(result.tokensPerExpert[e]);
          const factor = Math.fround(0.5 + (comm.rank * localExperts + e) / config.num_experts);
          let last = -1;
          for (let row = start; row < end; row++) {
            const source = expanded.rowOf[row]!;
            const x = (expanded.x as Uint16Array).subarray(row * config.hidden, (row + 1) * config.hidden);
            if (row >= start + expanded.counts[e]!) {
              expect(source).toBe(-1);
              expect(x.every((code) => code === 0)).toBe(true);
              continue;
            }
            expect(source).toBeGreaterThan(last);
            last = source;
            const original = (result.x as Uint16Array).subarray(source * config.hidden);
            expect(x.every((code, i) => code === original[i])).toBe(true);
            y.set(
              fromBf16(x).map((value) => factor * value),
              row * config.hidden,
            );
          }
        }
        const combined = await dispatcher.combine({ handle: result.handle, expanded: y, weighted: true });
        const want = golden.bf16(`combine/${comm.rank}/out_${mode}`);
        expect((combined.x as Uint16Array).subarray(0, want.length)).toEqual(want);
        await dispatcher.close();
      }),
    );
  });

  it('adds no, one or two biases before the rows', async () => {
    await onRanks({ mode, ...base, payload: 'bf16' }, async (dispatcher, { rank }) => {
      const topkIdx = Int32Array.of(rank * 2, -1, -1, -1, -1, -1);
      const x = toBf16(tokensOf(rank, 2, 4));
      const bias = toBf16(tokensOf(rank, 2, 4, 9));
      const { handle, x: rows } = await dispatcher.dispatch({ x, topkIdx });
      const values = [fromBf16(x), fromBf16(bias)] as const;
      for (const count of [0, 1, 2]) {
        const biases = Array.from({ length: count }, () => bias);
        const { x: out } = await dispatcher.combine({ handle, x: rows as Uint16Array, biases });
        const want = values[0].map((value, i) => {
          let sum = 0;
          for (let b = 0; b < count; b++) sum = Math.fround(sum + values[1][i]!);
          return i < 4 ? Math.fround(sum + value) : sum;
        });
        expect((out as Uint16Array).subarray(0, 8)).toEqual(toBf16(want));
      }
    });
  });

  it('writes into an array of the caller and returns only there', async () => {
    await onRanks({ mode, ...base }, async (dispatcher, { rank }) => {
      const { handle, x } = await dispatcher.dispatch({
        x: tokensOf(rank, 1, 4),
        topkIdx: Int32Array.of(1, 3, 5),
      });
      const out = new Float32Array(6).fill(7);
      const combined = await dispatcher.combine({ handle, x: x as Float32Array, out });
      expect(combined.x).toBe(out);
      expect([...out.subarray(4)]).toEqual([7, 7]);
    });
  });

  it('applies weights on the expert side, so that identity experts return weighted sums', async () => {
    await onRanks({ mode, ...base }, async (dispatcher, { rank }) => {
      const topkIdx = Int32Array.of(0, 3, 6, 7, 6, -1);
      const topkWeights = Float32Array.of(0.5, 0.25, 0.125, 1, 2, 3);
      const x = tokensOf(rank, 2, 4);
      const result = await dispatcher.dispatch({ x, topkIdx, topkWeights });
      const shape = { rows: result.rows, hidden: 4, topK: 3, firstExpert: 4, experts: 8 };
      // Factor of expert 4 of 8 is 1; every local expert pretends to be it.
      const identity = result.topkIdx.map((id) => (id < 0 ? -1 : 0));
      const y = runExperts(result.x as Float32Array, identity, result.topkWeights, shape);
      const { x: out } = await dispatcher.combine({ handle: result.handle, x: y });
      const totals = [0.875, 3];
      for (let i = 0; i < 8; i++) expect(out[i]).toBeCloseTo(x[i]! * totals[i >> 2]!, 6);
    });
  });

  it('rejects input that does not fit, and goes on', async () => {
    await onRanks({ mode, ...base }, async (dispatcher, { rank }) => {
      const x = tokensOf(rank, 2, 4);
      const good = { x, topkIdx: new Int32Array(6).fill(-1) };
      const bad = [
        { ...good, topkIdx: Int32Array.of(0, 1, 8, 0, 0, 0) },
        { ...good, topkIdx: Int32Array.of(0, 1, -2, 0, 0, 0) },
        { ...good, x: x.subarray(1) },
        { ...good, x: new Uint16Array(8) },
        { ...good, tokens: 7 },
        { ...good, topkIdx: new Int32Array(5) },
        { ...good, topkWeights: new Float32Array(5) },
        { ...good, scales: new Float32Array(1) },
        { x },
      ];
      for (const input of bad) {
        expect(() => dispatcher.dispatchSend(input)).toThrow(CollectivesError);
      }
      const result = await dispatcher.dispatch({ x, topkIdx: Int32Array.of(0, 1, 7, 2, 2, 2) });
      const rows = new Float32Array(result.rows * 4);
      const { handle } = result;
      expect(() => dispatcher.combineSend({ handle })).toThrow(/either x or expanded/);
      expect(() => dispatcher.combineSend({ handle, x: rows, biases: [rows, rows, rows] })).toThrow(
        /at most two/,
      );
      expect(() => dispatcher.combineSend({ handle, x: rows, out: new Float32Array(7) })).toThrow(
        /at least 8/,
      );
      expect(() => dispatcher.combineSend({ handle, expanded: rows })).toThrow(/expanded/);
      await dispatcher.combine({ handle, x: rows });
    });
  });

  it('tells every rank when one would receive too many rows, before a token moves', async () => {
    await onRanks({ mode, ...base, maxReceiveTokens: 3 }, async (dispatcher, { rank }) => {
      const x = tokensOf(rank, 1, 4);
      await expect(dispatcher.dispatch({ x, topkIdx: Int32Array.of(0, -1, -1) })).rejects.toThrow(
        /rank 0 would receive 4 tokens, maxReceiveTokens is 3/,
      );
      expect(dispatcher.counters.dispatch.report().sent.intra.bytes).toBe(0);
      const next = await dispatcher.dispatch({ x, topkIdx: Int32Array.of(2 * rank, -1, -1) });
      expect(next.rows).toBe(1);
    });
  });

  it('adds up the load of its experts, without alignment', async () => {
    const aligned = { mode, ...base, expertAlignment: 16 };
    const loads = await onRanks(aligned, async (dispatcher, { rank }) => {
      for (let step = 0; step < 2; step++) {
        const topkIdx = randomSelections(generator(rank), { tokens: 6, topK: 3, experts: 8 });
        await dispatcher.dispatch({ x: tokensOf(rank, 6, 4), topkIdx });
      }
      return [...dispatcher.expertLoad];
    });
    const expected = new Array<number>(8).fill(0);
    for (let rank = 0; rank < 4; rank++) {
      for (const expert of randomSelections(generator(rank), { tokens: 6, topK: 3, experts: 8 })) {
        if (expert >= 0) expected[expert]! += 2;
      }
    }
    expect(loads.flat()).toEqual(expected);
  });

  it('counts what its transport counts', async () => {
    await onRanks({ mode, ...base }, async (dispatcher, { rank }) => {
      const topkIdx = randomSelections(generator(rank), { tokens: 6, topK: 3, experts: 8 });
      const { handle, x } = await dispatcher.dispatch({ x: tokensOf(rank, 6, 4), topkIdx });
      await dispatcher.combine({ handle, x: x as Float32Array });
      const parts = Object.values(dispatcher.counters).map((counters) => counters.report());
      const whole = dispatcher.transportCounters.report();
      for (const way of ['sent', 'received'] as const) {
        for (const link of ['self', 'intra', 'inter'] as const) {
          const bytes = parts.reduce((sum, part) => sum + part[way][link].bytes, 0);
          const messages = parts.reduce((sum, part) => sum + part[way][link].messages, 0);
          expect({ bytes, messages }).toEqual(whole[way][link]);
        }
      }
    });
  });
});

it('says on every rank which option differs', async () => {
  const errors = await Promise.all(
    createLoopback(3).map((comm) =>
      createDispatcher(comm, { ...base, experts: 9, mode: 'direct', hidden: comm.rank === 1 ? 8 : 4 }).catch(
        (error: unknown) => error,
      ),
    ),
  );
  for (const error of errors) {
    expect(error).toBeInstanceOf(MismatchError);
    expect(error).toMatchObject({ field: 'hidden', ranks: [1] });
  }
});

it('refuses options that do not fit the communicator', async () => {
  const [comm] = createLoopback(1);
  const bad: Partial<DispatcherOptions>[] = [
    { hidden: 3 },
    { payload: 'fp8', hidden: 64 },
    { topK: 0 },
    { maxTokensPerRank: 0 },
    { chunkTokens: 7 },
    { maxReceiveTokens: 7 },
    { inFlight: 0 },
    { scale: 'ue8m0' },
    { mode: 'low-latency', expand: true },
    { worstCase: true, chunkTokens: 1 },
  ];
  for (const options of bad) {
    await expect(createDispatcher(comm!, { mode: 'direct', ...base, ...options })).rejects.toMatchObject({
      code: 'collectives/bad-config',
    });
  }
  const uneven = createLoopback(3)[0]!;
  await expect(createDispatcher(uneven, { mode: 'direct', ...base })).rejects.toThrow(
    /multiple of the 3 ranks/,
  );
});

it('cannot block where ranks share a thread, and times out by name', async () => {
  const [first, second] = createLoopback(2, { timeoutSeconds: 0.2 });
  const [a, b] = await Promise.all(
    [first!, second!].map((comm) => createDispatcher(comm, { mode: 'direct', ...base })),
  );
  const sent = a!.dispatchSend({ x: new Float32Array(4), topkIdx: Int32Array.of(4, 5, 6) });
  expect(() => a!.dispatchReceive(sent)).toThrow(
    expect.objectContaining({ code: 'collectives/would-block' }),
  );
  const error = await a!.dispatchReceiveAsync(sent).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CollectivesTimeoutError);
  expect(error).toMatchObject({ ranks: [1] });
  expect(() => a!.dispatchSend({ x: new Float32Array(4), topkIdx: Int32Array.of(4, 5, 6) })).toThrow(
    CollectivesTimeoutError,
  );
  await Promise.all([a!.close(), b!.close()]);
});

it('stops waiting when its signal fires', async () => {
  const [first, second] = createLoopback(2);
  const [a] = await Promise.all(
    [first!, second!].map((comm) => createDispatcher(comm, { mode: 'direct', ...base })),
  );
  const controller = new AbortController();
  const waiting = a!.dispatch(
    { x: new Float32Array(4), topkIdx: Int32Array.of(4, 5, 6) },
    { signal: controller.signal },
  );
  controller.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
});

it('names a rank that failed, also to those that wait for its forwarding', async () => {
  const comms = createLoopback(4, { topology: uniformTopology(2, 2) });
  const dispatchers = await Promise.all(
    comms.map((comm) => createDispatcher(comm, { mode: 'hierarchical', ...base })),
  );
  const waiting = [0, 1, 2].map((rank) =>
    dispatchers[rank]!.dispatch({ x: new Float32Array(4), topkIdx: Int32Array.of(0, 3, 7) }).catch(
      (error: unknown) => error,
    ),
  );
  comms[3]!.transport.fail([3], 'lost power');
  for (const error of await Promise.all(waiting)) {
    expect(error).toBeInstanceOf(PeerFailureError);
    expect(error).toMatchObject({ ranks: [3] });
  }
  await Promise.all(dispatchers.map((dispatcher) => dispatcher.close()));
});

it('refuses to go on after ranks combined different dispatches', async () => {
  const [first, second] = createLoopback(2, { timeoutSeconds: 1 });
  const both = await Promise.all(
    [first!, second!].map((comm) => createDispatcher(comm, { mode: 'direct', ...base })),
  );
  const x = new Float32Array(24);
  const dispatch = (topkIdx: Int32Array) =>
    Promise.all(both.map((dispatcher) => dispatcher.dispatch({ x, topkIdx, tokens: 2 })));
  const one = await dispatch(Int32Array.of(0, 4, -1, -1, -1, -1));
  const two = await dispatch(Int32Array.of(-1, -1, -1, 0, 4, -1));
  const errors = await Promise.all([
    both[0]!.combine({ handle: one[0]!.handle, x }).catch((error: unknown) => error),
    both[1]!.combine({ handle: two[1]!.handle, x }).catch((error: unknown) => error),
  ]);
  for (const [rank, error] of errors.entries()) {
    expect(error).toBeInstanceOf(MismatchError);
    expect(error).toMatchObject({ field: 'handle', ranks: [1 - rank] });
  }
  expect(() => both[0]!.dispatchSend({ x, topkIdx: new Int32Array(6).fill(-1) })).toThrow(MismatchError);
  await Promise.all(both.map((dispatcher) => dispatcher.close()));
});

it.each([
  { mode: 'direct', payload: 'f32' },
  { mode: 'direct', payload: 'fp8', hidden: 128, expand: true, expertAlignment: 8, inFlight: 3 },
  { mode: 'hierarchical', payload: 'bf16', chunkTokens: 2 },
  { mode: 'hierarchical', payload: 'bf16', maxReceiveTokens: 7 },
  { mode: 'low-latency', payload: 'fp8', hidden: 128, chunkTokens: 5 },
] as const)('says how much memory it takes from its transport ($mode $payload)', async (extra) => {
  const options = { ...base, ...extra };
  await Promise.all(
    createLoopback(4, { topology: uniformTopology(2, 2) }).map(async (comm) => {
      let bytes = 0;
      const dup = comm.dup.bind(comm);
      comm.dup = async (wait) => {
        const own = await dup(wait);
        const allocate = own.transport.allocate.bind(own.transport);
        own.transport.allocate = (size) => {
          bytes += Math.ceil(size / 64) * 64;
          return allocate(size);
        };
        return own;
      };
      const dispatcher = await createDispatcher(comm, options);
      expect(bytes).toBe(dispatcherBytes(options, { nodes: 2, ranksPerNode: 2 }));
      await dispatcher.close();
    }),
  );
});

it('works on nodes of different sizes where no forwarding is needed', async () => {
  const comms = createLoopback(3, { topology: createTopology([0, 1, 1]) });
  await Promise.all(
    comms.map(async (comm) => {
      const options = { ...base, experts: 9 };
      await expect(createDispatcher(comm, { mode: 'hierarchical', ...options })).rejects.toThrow(
        /different sizes/,
      );
      const dispatcher = await createDispatcher(comm, { mode: 'direct', ...options });
      const { rows } = await dispatcher.dispatch({ x: new Float32Array(4), topkIdx: Int32Array.of(0, 3, 6) });
      expect(rows).toBe(3);
      const { intra, inter } = dispatcher.counters.dispatch.report().sent;
      const size = dispatchMessage({ mode: 'direct', ...base, combinePayload: 'f32' }).bytes;
      expect([intra.bytes / size, inter.bytes / size]).toEqual(comm.rank === 0 ? [0, 2] : [1, 1]);
      await dispatcher.close();
    }),
  );
});
