import {
  createDispatcher,
  createLoopback,
  type DispatcherOptions,
  fromBf16,
  type LowLatencyDispatcher,
  toBf16,
  uniformTopology,
} from '@moestack/collectives';
import { quantize } from '@moestack/fp8';
import { describe, expect, it } from 'vitest';
import { Fp8Caster } from '../../src/moe/fp8-cast.js';
import { expertFactor } from './experts.js';
import { caseNames, GoldenCase } from './golden-case.js';
import { generator } from './random-routing.js';

const cases = caseNames
  .map((name) => new GoldenCase(name))
  .filter((golden) => golden.file.low_latency !== undefined);

async function passes<T>(
  golden: GoldenCase,
  extra: Partial<DispatcherOptions>,
  body: (dispatcher: LowLatencyDispatcher, rank: number) => Promise<T>,
  skipped = -1,
): Promise<T[]> {
  const { config, low_latency } = golden.file;
  const topology = uniformTopology(config.nodes, config.ranks_per_node);
  return Promise.all(
    createLoopback(config.num_ranks, { topology }).map(async (comm) => {
      const dispatcher = (await createDispatcher(comm, {
        mode: 'low-latency',
        experts: config.num_experts,
        topK: config.num_topk,
        hidden: config.hidden,
        maxTokensPerRank: low_latency!.num_max_dispatch_tokens_per_rank,
        ...extra,
      } as DispatcherOptions & { mode: 'low-latency' })) as LowLatencyDispatcher;
      const result = comm.rank === skipped ? (undefined as T) : await body(dispatcher, comm.rank);
      await dispatcher.close();
      return result;
    }),
  );
}

/** bf16(factor * x) for every row in use. */
function expertRows(
  x: Uint16Array,
  counts: Int32Array,
  shape: { rowsPerExpert: number; hidden: number; firstExpert: number; experts: number },
): Uint16Array {
  const { rowsPerExpert, hidden, firstExpert, experts } = shape;
  const y = new Uint16Array(counts.length * rowsPerExpert * hidden);
  for (let e = 0; e < counts.length; e++) {
    const factor = expertFactor(firstExpert + e, experts);
    const first = e * rowsPerExpert * hidden;
    const values = fromBf16(x.subarray(first, first + counts[e]! * hidden)).map((value) => value * factor);
    y.set(toBf16(values), first);
  }
  return y;
}

describe.each(cases.map((golden) => [golden.file.name, golden] as const))('%s', (_name, golden) => {
  const { config, low_latency: expected, traffic } = golden.file;
  const localExperts = config.num_experts / config.num_ranks;

  it.each([undefined, 5])(
    'combines like mul then add, without and with masked ranks (chunk %s)',
    async (chunkTokens) => {
      const masked = expected!.masked_rank;
      const runs = masked === undefined ? [-1] : [-1, masked];
      for (const mask of runs) {
        const chunk = chunkTokens === undefined ? {} : { chunkTokens };
        await passes(
          golden,
          { payload: 'bf16', ...chunk },
          async (dispatcher, rank) => {
            if (mask >= 0) dispatcher.maskRank(mask);
            const result = await dispatcher.dispatch({
              x: golden.bf16(`in/${rank}/x`),
              topkIdx: golden.i32(`in/${rank}/topk_idx`),
            });
            if (mask < 0) {
              const want = expected!.ranks[rank]!;
              expect([...result.counts]).toEqual(want.recv_count);
              const ranges = want.layout_range_count_begin.flat();
              expect([...result.rangeCounts]).toEqual(ranges.map(([count]) => count));
              expect([...result.rangeBegins]).toEqual(ranges.map(([, begin]) => begin));
              for (let e = 0; e < localExperts; e++) {
                const first = e * result.rowsPerExpert;
                const sources = Array.from({ length: result.counts[e]! }, (_, row) => [
                  result.srcRank[first + row],
                  result.srcIdx[first + row],
                ]);
                expect(sources).toEqual(want.recv_src_rank_token[e]);
              }
            }
            const y = expertRows(result.x as Uint16Array, result.counts, {
              rowsPerExpert: result.rowsPerExpert,
              hidden: config.hidden,
              firstExpert: rank * localExperts,
              experts: config.num_experts,
            });
            const combined = await dispatcher.combine({
              handle: result.handle,
              x: y,
              topkWeights: golden.f32(`in/${rank}/topk_weights`),
            });
            const name = mask < 0 ? `ll/${rank}/combined_muladd` : `ll/${rank}/combined_muladd_masked`;
            const want = golden.bf16(name);
            expect((combined.x as Uint16Array).subarray(0, want.length)).toEqual(want);
          },
          mask,
        );
      }
    },
  );

  it.each([
    ['f32', 'f32'],
    ['powerOfTwo', 'pow2'],
    ['ue8m0', 'pow2'],
  ] as const)('casts to FP8 inside (scale %s)', async (scale, golden8) => {
    await passes(golden, { payload: 'fp8', scale }, async (dispatcher, rank) => {
      const result = await dispatcher.dispatch({
        x: golden.bf16(`in/${rank}/x`),
        topkIdx: golden.i32(`in/${rank}/topk_idx`),
      });
      const tiles = config.hidden / 128;
      for (let e = 0; e < localExperts; e++) {
        for (let i = 0; i < result.counts[e]!; i++) {
          const row = e * result.rowsPerExpert + i;
          const [source, token] = [result.srcRank[row]!, result.srcIdx[row]!];
          const codes = golden.u8(`ll/${source}/x_fp8_${golden8}`);
          expect((result.x as Uint8Array).subarray(row * config.hidden, (row + 1) * config.hidden)).toEqual(
            codes.subarray(token * config.hidden, (token + 1) * config.hidden),
          );
          if (scale === 'ue8m0') {
            const want = golden.u8(`ll/${source}/x_scale_ue8m0`).subarray(token * tiles, (token + 1) * tiles);
            expect(result.scaleCodes!.subarray(row * tiles, (row + 1) * tiles)).toEqual(want);
          } else {
            const want = golden
              .f32(`ll/${source}/x_scale_inv_${golden8}`)
              .subarray(token * tiles, (token + 1) * tiles);
            expect(result.scales!.subarray(row * tiles, (row + 1) * tiles)).toEqual(want);
          }
        }
      }
    });
  });

  it('counts one message for each selection, and one row back', async () => {
    const copies = traffic.copies.direct_per_expert;
    for (const payload of ['bf16', 'fp8'] as const) {
      const size = traffic.message_bytes[`ll_${payload}`]!;
      const back = traffic.message_bytes['ll_combine_bf16']!;
      const reports = await passes(golden, { payload }, async (dispatcher, rank) => {
        const result = await dispatcher.dispatch({
          x: golden.bf16(`in/${rank}/x`),
          topkIdx: golden.i32(`in/${rank}/topk_idx`),
        });
        await dispatcher.combine({
          handle: result.handle,
          x: new Uint16Array(localExperts * result.rowsPerExpert * config.hidden),
          topkWeights: golden.f32(`in/${rank}/topk_weights`),
        });
        return {
          dispatch: dispatcher.counters.dispatch.report(),
          combine: dispatcher.counters.combine.report(),
        };
      });
      for (const [rank, { dispatch, combine }] of reports.entries()) {
        const sent = [copies.self[rank]!, copies.intra_send[rank]!, copies.inter_send[rank]!];
        const received = [copies.self[rank]!, copies.intra_recv[rank]!, copies.inter_recv[rank]!];
        const bytes = (report: typeof dispatch, way: 'sent' | 'received') =>
          (['self', 'intra', 'inter'] as const).map((link) => report[way][link].bytes);
        expect(bytes(dispatch, 'sent')).toEqual(sent.map((count) => count * size));
        expect(bytes(dispatch, 'received')).toEqual(received.map((count) => count * size));
        expect(bytes(combine, 'sent')).toEqual(received.map((count) => count * back));
        expect(bytes(combine, 'received')).toEqual(sent.map((count) => count * back));
      }
    }
  });
});

describe('the FP8 cast', () => {
  it('equals quantize with reciprocal order on random rows of every magnitude', () => {
    const random = generator(11);
    const hidden = 256;
    for (const scale of ['f32', 'powerOfTwo'] as const) {
      const caster = new Fp8Caster(hidden, scale);
      for (const magnitude of [1e-9, 1e-4, 1, 1e3, 1e30]) {
        const x = Float32Array.from({ length: hidden }, () => (random() * 2 - 1) * magnitude);
        const codes = new Uint8Array(hidden);
        const scales = new Float32Array(hidden / 128);
        caster.castF32(x, 0, codes, 0, scales, 0);
        const q = quantize(x, [1, hidden], {
          kind: 'tile',
          tile: [1, 128],
          scale: scale === 'f32' ? 'f32' : 'powerOfTwo',
          order: 'reciprocal',
        });
        for (let i = 0; i < 2; i++) expect(Math.abs(scales[i]! / q.scales[i]! - 1)).toBeLessThan(2 ** -22);
        if (scale === 'powerOfTwo') expect(codes).toEqual(q.codes);
      }
    }
  });
});
