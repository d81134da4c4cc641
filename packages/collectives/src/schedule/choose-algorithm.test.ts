import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { measureLinks } from '../communicator/measure-links.js';
import { createTopology, uniformTopology } from '../communicator/topology.js';
import { createLoopback } from '../loopback/create-loopback.js';
import { chooseAlgorithm, estimateSeconds } from './choose-algorithm.js';
import { algorithmsOf } from './create-schedule.js';
import { checkFit, fitLink } from './fit-links.js';
import { defaultLinkFit } from './link-fit.js';

const base = { topology: uniformTopology(1, 8), elementBytes: 4, root: 0 } as const;

describe('chooseAlgorithm', () => {
  it('prefers few rounds for short vectors and few bytes for long ones', () => {
    expect(chooseAlgorithm({ ...base, op: 'allReduce', counts: [1] }, defaultLinkFit)).toBe(
      'recursive-doubling',
    );
    const long = chooseAlgorithm({ ...base, op: 'allReduce', counts: [4 << 20] }, defaultLinkFit);
    expect(['halving-doubling', 'ring']).toContain(long);
    const slowStart = { ...defaultLinkFit, intra: { alphaSeconds: 1e-3, bytesPerSecond: 10e9 } };
    expect(chooseAlgorithm({ ...base, op: 'allToAll', counts: [1] }, slowStart)).toBe('bruck');
    expect(chooseAlgorithm({ ...base, op: 'allToAll', counts: [1 << 20] }, defaultLinkFit)).not.toBe('bruck');
  });

  it('keeps slow links free where nodes differ much from links between them', () => {
    const fit = { ...defaultLinkFit, inter: { alphaSeconds: 1e-4, bytesPerSecond: 1e8 } };
    const topology = uniformTopology(4, 8);
    expect(chooseAlgorithm({ ...base, topology, op: 'allReduce', counts: [1 << 18] }, fit)).toBe('two-level');
  });

  it('chooses the least estimate, whatever the shape', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          'allReduce',
          'reduceScatter',
          'allGather',
          'allToAll',
          'broadcast',
          'gather' as const,
        ),
        fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 9 }),
        fc.integer({ min: 9, max: 10_000 }),
        (op, nodes, count) => {
          const topology = createTopology(nodes);
          const length =
            op === 'allReduce' || op === 'broadcast'
              ? 1
              : op === 'allToAll'
                ? topology.size ** 2
                : topology.size;
          const counts = new Array<number>(length).fill(count);
          const choice = { ...base, topology, op, counts };
          const chosen = chooseAlgorithm(choice, defaultLinkFit);
          expect(algorithmsOf[op]).toContain(chosen);
          const seconds = estimateSeconds({ ...choice, algorithm: chosen }, defaultLinkFit);
          for (const algorithm of algorithmsOf[op]) {
            if (algorithm === 'two-level') continue;
            expect(seconds).toBeLessThanOrEqual(estimateSeconds({ ...choice, algorithm }, defaultLinkFit));
          }
        },
      ),
      { seed: 3, numRuns: 100 },
    );
  });
});

describe('fitLink', () => {
  it('finds the parameters of exact samples', () => {
    const samples = [64, 1024, 65536, 1 << 20].map((bytes) => ({ bytes, seconds: 2e-6 + bytes / 8e9 }));
    const { alphaSeconds, bytesPerSecond } = fitLink(samples);
    expect(alphaSeconds).toBeCloseTo(2e-6, 12);
    expect(bytesPerSecond / 8e9).toBeCloseTo(1, 6);
  });

  it('stays positive on noise and refuses what cannot be fitted', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(fc.integer({ min: 1, max: 1 << 24 }), fc.double({ min: 1e-9, max: 1, noNaN: true })),
          { minLength: 2, maxLength: 8 },
        ),
        (pairs) => {
          const samples = pairs.map(([bytes, seconds], index) => ({ bytes: bytes + index * 7, seconds }));
          if (new Set(samples.map((sample) => sample.bytes)).size < 2) return;
          const { alphaSeconds, bytesPerSecond } = fitLink(samples);
          expect(alphaSeconds > 0 && bytesPerSecond > 0).toBe(true);
        },
      ),
      { seed: 4, numRuns: 200 },
    );
    expect(() => fitLink([{ bytes: 1, seconds: 1 }])).toThrow(
      expect.objectContaining({ code: 'collectives/bad-shape' }),
    );
  });
});

describe('measureLinks', () => {
  it('gives every rank the same fit, which survives JSON and serves auto', async () => {
    const ranks = createLoopback(4, { topology: uniformTopology(2, 2) });
    const fits = await Promise.all(
      ranks.map((comm) => measureLinks(comm, { repetitions: 3, sizesBytes: [64, 4096, 65536] })),
    );
    for (const fit of fits) expect(fit).toEqual(fits[0]);
    const fit = checkFit(JSON.parse(JSON.stringify(fits[0])));
    for (const comm of ranks) comm.setFit(fit);
    const sums = await Promise.all(ranks.map((comm) => comm.allReduce(Float32Array.of(1))));
    expect(sums.map((sum) => sum[0])).toEqual([4, 4, 4, 4]);
  });

  it('lets plans tell that ranks have different fits', async () => {
    const ranks = createLoopback(2);
    ranks[1]?.setFit({ ...defaultLinkFit, reduceBytesPerSecond: 1 });
    const results = await Promise.allSettled(ranks.map((comm) => comm.barrier()));
    for (const result of results)
      expect(result).toMatchObject({ reason: { code: 'collectives/mismatch', field: 'fit' } });
    expect(() => ranks[0]?.setFit({ ...defaultLinkFit, schemaVersion: 2 as 1 })).toThrow(/version/);
  });
});
