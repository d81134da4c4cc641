import { describe, expect, it } from 'vitest';
import { crossValidateKernels, type KernelError } from './cross-validate.js';

/** What the models are held to on points that they have not seen. */
const BARS = { mla: 0.06, moe: 0.1, deepep: 0.04 };

function medians(errors: readonly KernelError[]): Record<string, number> {
  return Object.fromEntries(errors.map((e) => [`${e.system}.${e.table}.${e.column}`, e.median]));
}

describe('kernel models on points left out', () => {
  it('stay within 6 % for latent attention with half of the points gone', () => {
    const errors = crossValidateKernels({ folds: 2, tables: ['mla_context', 'mla_generation'] });
    expect(errors).toHaveLength(6);
    for (const [name, median] of Object.entries(medians(errors))) expect(median, name).toBeLessThan(BARS.mla);
  });

  it('stay within 10 % for experts with half of the points gone', () => {
    const errors = crossValidateKernels({ folds: 2, tables: ['moe_context', 'moe_generation'] });
    expect(errors).toHaveLength(6);
    for (const [name, median] of Object.entries(medians(errors))) expect(median, name).toBeLessThan(BARS.moe);
  });

  it('stay within 4 % for the transfers of dispatch and combine', () => {
    const errors = crossValidateKernels({
      folds: 5,
      tables: ['deepep_ll', 'deepep_normal', 'deepep_ll_multinode', 'deepep_normal_multinode'],
    });
    const transfers = errors.filter(({ column }) => !column.includes('notify'));
    expect(transfers.length).toBeGreaterThanOrEqual(16);
    for (const [name, median] of Object.entries(medians(transfers))) {
      expect(median, name).toBeLessThan(BARS.deepep);
    }
  });

  it('know that the wait for counts scatters, and say so', () => {
    const errors = crossValidateKernels({ tables: ['deepep_normal_multinode'] });
    const waits = errors.filter(({ column }) => column.includes('notify'));
    expect(waits).toHaveLength(2);
    for (const { median, p90 } of waits) {
      expect(median).toBeLessThan(0.1);
      expect(p90).toBeGreaterThan(0.1);
    }
  });
});
