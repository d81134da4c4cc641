import { describe, expect, it } from 'vitest';
import { publishedDeployment } from '../cost/published-deployment.js';
import { accelerators } from '../hardware/presets.js';
import { deepSeekV3 } from '../model/model-shape.js';
import { plan } from '../plan/plan.js';
import { simulate } from '../sim/simulate.js';
import { whatIf } from '../whatif/what-if.js';
import { planHtml } from './plan-html.js';
import { simulationHtml } from './simulation-html.js';

const workload = {
  requestsPerSecond: 10,
  inputTokens: { kind: 'fixed', tokens: 2000 },
  outputTokens: { kind: 'fixed', tokens: 100 },
  cachedFraction: 0.5,
  arrivals: { kind: 'poisson' },
} as const;
const slo = { ttftSeconds: 5, tpotSeconds: 0.08, quantile: 0.9 };

function checkPage(page: string): void {
  expect(page).toMatch(/^<!doctype html>/);
  expect(page).not.toMatch(/<script|https?:|url\(|<link|<img/);
  expect(page).not.toMatch(/NaN|undefined|Infinity|null/);
  for (const tag of ['svg', 'section', 'div', 'p', 'table', 'tr', 'td', 'ul', 'li'])
    expect(page.match(new RegExp(`<${tag}[ >]`, 'g'))?.length, tag).toBe(
      page.match(new RegExp(`</${tag}>`, 'g'))?.length,
    );
}

describe('planHtml', () => {
  it('is one page that loads and runs nothing, with the plan in words and figures', async () => {
    const space = { nodes: [4], tp: [1], extraSlots: [0] };
    const model = { ...deepSeekV3, name: '<b>V3</b>' };
    const accelerator = accelerators.h800;
    const result = await plan({
      accelerator,
      model,
      workload,
      slo,
      gpus: 96,
      simulate: 1,
      simulatedRequests: 300,
      space: { prefill: space, decode: space, prefillTokens: [8192] },
    });
    const deployment = result.candidates[0]!.deployment;
    const page = planHtml(result, { whatIf: whatIf({ accelerator, model, deployment }) });
    checkPage(page);
    expect(page).not.toContain('<b>V3</b>');
    expect(page).toContain('&#60;b&#62;V3');
    expect(page).toContain(`on ${result.candidates[0]!.gpus} H800s`);
    expect(page).toContain('derived from H100');
    expect(page.match(/<svg/g)).toHaveLength(3);
    for (const heading of [
      'Recommended deployment',
      'Memory of a GPU',
      'Speed against throughput',
      'What other hardware would change',
    ])
      expect(page).toContain(`<h2>${heading}</h2>`);
    expect(planHtml(result)).not.toContain('What other hardware');
  });
});

describe('simulationHtml', () => {
  it('shows what the simulation saw', async () => {
    const deployment = publishedDeployment('profile');
    const result = await simulate({
      accelerator: accelerators.h800,
      model: deepSeekV3,
      deployment,
      workload,
      slo,
      requestCount: 200,
    });
    const page = simulationHtml({ title: 'profile', deployment, result, slo, usdPerGpuHour: 2 });
    checkPage(page);
    expect(page).toContain('200 requests');
    expect(page).toContain('160 GPUs');
  });
});
