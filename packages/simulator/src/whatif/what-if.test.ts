import { describe, expect, it } from 'vitest';
import { publishedDeployment } from '../cost/published-deployment.js';
import { accelerators } from '../hardware/presets.js';
import { deepSeekV3 } from '../model/model-shape.js';
import { servingCost, trainingCost } from './cost-of.js';
import { tokenElements } from './gemm-inputs.js';
import { whatIf } from './what-if.js';

const base = {
  accelerator: accelerators.h800,
  model: deepSeekV3,
  deployment: publishedDeployment('profile'),
};

describe('whatIf', () => {
  const { today, effects } = whatIf(base);
  const of = (title: RegExp) => effects.find((effect) => title.test(effect.title))!;

  it('frees the SMs that communicate: prefill and training gain, decode has none to free', () => {
    const { phases } = of(/^One fabric/);
    expect(today.phases.prefill.sms).toEqual({ compute: 108, communication: 24 });
    expect(phases.prefill.sms).toEqual({ compute: 132, communication: 0 });
    expect(phases.prefill.saved.least).toBeGreaterThan(0.03);
    expect(phases.training.saved.least).toBeGreaterThan(0.03);
    expect(phases.prefill.saved.most).toBeLessThan(0.5);
    expect(phases.decode.sms).toEqual(today.phases.decode.sms);
    expect(phases.prefill.bytes.memory).toBeLessThan(today.phases.prefill.bytes.memory);
  });

  it('saves time with accumulation and scaling only together, and not where memory binds', () => {
    for (const alone of [of(/^Full accumulation precision$/), of(/^Block scales inside the MMA$/)])
      for (const phase of ['prefill', 'decode', 'training'] as const)
        expect(alone.phases[phase].saved).toEqual({ least: 0, most: 0 });
    const both = of(/Full accumulation.* \+ Block scales/);
    expect(both.phases.prefill.saved.least).toBe(0);
    expect(both.phases.prefill.saved.most).toBeGreaterThan(0);
    expect(both.phases.prefill.saved.most).toBeLessThan(0.2);
    expect(both.phases.decode.saved.most).toBeLessThan(both.phases.prefill.saved.most);
  });

  it('saves the bytes of a fused cast to the byte', () => {
    const { phases } = of(/^FP8 cast/);
    const { quantised } = tokenElements(deepSeekV3, 1);
    // A layer of attention reads 7168 + 1536 + 512 + 16384 values of a token; an expert layer 9 x 2048.
    expect(quantised).toBe(61 * (7168 + 1536 + 512 + 16_384) + 3 * (7168 + 18_432) + 58 * 9 * 2048);
    const bytes = today.phases.prefill.bytes.memory - phases.prefill.bytes.memory;
    expect(bytes / (2 * quantised * 16_384)).toBeCloseTo(1, 9);
    expect(phases.prefill.saved.least).toBe(phases.prefill.saved.most);
  });

  it('helps training alone with transposed reads', () => {
    const { phases, usd } = of(/^Transposed/);
    expect(phases.prefill.saved).toEqual({ least: 0, most: 0 });
    expect(phases.decode.saved).toEqual({ least: 0, most: 0 });
    expect(phases.training.saved.least).toBeGreaterThan(0);
    expect(usd.perTrillionTrainingTokens.most).toBeLessThan(today.usd.perTrillionTrainingTokens.most);
  });

  it('saves no less with all of them than with any', () => {
    const all = of(/^All/);
    for (const { phases } of effects)
      for (const phase of ['prefill', 'decode', 'training'] as const) {
        expect(all.phases[phase].saved.most).toBeGreaterThanOrEqual(phases[phase].saved.most - 1e-12);
        expect(phases[phase].saved.most).toBeGreaterThanOrEqual(phases[phase].saved.least);
        expect(phases[phase].seconds.least).toBeGreaterThan(0);
      }
    expect(today.usd.perTrillionTrainingTokens).toEqual({ least: 360_000, most: 360_000 });
  });

  it('finds scaling and accumulation built into Blackwell', () => {
    const result = whatIf({ ...base, accelerator: accelerators.b200 });
    const both = result.effects.find(({ title }) => /Full accumulation.* \+ Block/.test(title))!;
    expect(both.phases.prefill.saved).toEqual({ least: 0, most: 0 });
  });

  it('refuses what nobody proposed', () => {
    expect(() => whatIf({ ...base, combinations: [['opticalFabric' as never]] })).toThrow('opticalFabric');
  });
});

describe('cost from GPU hours', () => {
  it('is the published cost of training: 2.788 M hours, 5.576 M USD', () => {
    const cost = trainingCost({
      tokens: 14.8e12,
      gpuHoursPerTrillionTokens: 180e3,
      otherGpuHours: 119e3 + 5e3,
      usdPerGpuHour: 2,
    });
    expect(cost).toEqual({ gpuHours: 2_788_000, usd: 5_576_000, usdPerTrillionTokens: 360_000 });
  });

  it('is the published day of serving: 87,072 USD, five times and a half as much profit', () => {
    const day = servingCost({
      gpus: 226.75 * 8,
      usdPerGpuHour: 2,
      cachedInputTokens: 342e9,
      newInputTokens: 266e9,
      outputTokens: 168e9,
      prices: { cachedInput: 0.14, newInput: 0.55, output: 2.19 },
    });
    expect(day.usdPerDay).toBe(87_072);
    expect(day.revenueUsdPerDay).toBeCloseTo(562_100, 0);
    expect(day.profitShare).toBeCloseTo(5.45, 1);
    expect(day.usdPerMillionOutputTokens).toBeCloseTo(0.518, 3);
  });

  it('refuses negative hours', () => {
    expect(() => trainingCost({ tokens: -1, gpuHoursPerTrillionTokens: 1, usdPerGpuHour: 1 })).toThrow(
      'tokens',
    );
    expect(() =>
      servingCost({
        gpus: Number.NaN,
        usdPerGpuHour: 1,
        cachedInputTokens: 0,
        newInputTokens: 0,
        outputTokens: 0,
      }),
    ).toThrow('gpus');
  });
});
