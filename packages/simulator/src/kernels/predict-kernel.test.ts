import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimulatorError } from '../errors.js';
import { predictKernel } from './predict-kernel.js';
import { kernelSources, kernelTable } from './tables.js';

describe('predictKernel', () => {
  it('follows the measurements', () => {
    const table = kernelTable('h100_sxm', 'mla_generation');
    const errors = table.rows.map((row) => {
      const [source, heads, batch, isl, latency] = row as unknown as [number, number, number, number, number];
      const query = { kernel_source: kernelSources[source]!, num_heads: heads, batch_size: batch, isl };
      return Math.abs(predictKernel('h100_sxm', 'mla_generation', query)['latency']! / latency - 1);
    });
    errors.sort((a, b) => a - b);
    expect(errors[errors.length >> 1]).toBeLessThan(0.02);
  });

  it('grows with the work beyond the table', () => {
    const at = (batch: number, isl: number): number =>
      predictKernel('h200_sxm', 'mla_context', {
        kernel_source: 'fa3',
        num_heads: 128,
        batch_size: batch,
        isl,
      })['latency']!;
    // Twice the context costs between twice (projections) and four times (attention) as much.
    const ratio = at(1, 262_144) / at(1, 131_072);
    expect(ratio).toBeGreaterThan(2.5);
    expect(ratio).toBeLessThan(4.5);
    expect(at(65_536, 1024) / at(32_768, 1024)).toBeCloseTo(2, 0);
  });

  it('gives finite positive times anywhere', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1 << 24 }),
        fc.integer({ min: 1, max: 512 }),
        fc.constantFrom('uniform', 'power_law_0.9', 'power_law_1.5'),
        (tokens, ranks, distribution) => {
          const query = { num_tokens: tokens, moe_ep_size: ranks, distribution };
          const { latency } = predictKernel('gb200', 'moe_context', query);
          expect(latency).toBeGreaterThan(0);
          expect(latency).toBeLessThan(1e9);
        },
      ),
      { seed: 11, numRuns: 200 },
    );
  });

  it.each([
    [{ num_heads: 128, batch_size: 1, isl: 1 }, 'kernel_source'],
    [{ kernel_source: 'fa3', num_heads: -1, batch_size: 1, isl: 1 }, 'num_heads'],
    [{ kernel_source: 'fa3', num_heads: 1, batch_size: Number.NaN, isl: 1 }, 'batch_size'],
  ])('names the column that is wrong in %j', (query, column) => {
    let caught: unknown;
    try {
      predictKernel('h100_sxm', 'mla_context', query);
    } catch (error) {
      caught = error;
    }
    expect(SimulatorError.isInstance(caught)).toBe(true);
    expect((caught as SimulatorError).message).toContain(column);
  });

  it('refuses tables that were not measured', () => {
    expect(() => kernelTable('gb200', 'deepep_ll_multinode')).toThrow(/measured kernel table/);
  });
});
