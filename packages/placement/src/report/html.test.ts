import { readFileSync } from 'node:fs';
import { fixturePath } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { initialPlan, type Load, rebalance } from '../index.js';
import { evaluatePlan, heatmapLines, placementHtml } from './index.js';

const bytes = readFileSync(fixturePath('placement/eplb/ep16_2node.weight.bin'));
const counts = new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const { layers, experts, deployment } = smallCase();
const load: Load = { layers, experts, counts };
const before = initialPlan(layers, experts, deployment);
const after = rebalance(load, deployment);

function smallCase() {
  const { cases } = JSON.parse(readFileSync(fixturePath('placement/eplb/cases.json'), 'utf8')) as {
    cases: {
      name: string;
      layers: number;
      experts: number;
      num_replicas: number;
      num_groups: number;
      num_nodes: number;
      num_gpus: number;
    }[];
  };
  const found = cases.find(({ name }) => name === 'ep16_2node')!;
  return {
    layers: found.layers,
    experts: found.experts,
    deployment: {
      nodes: found.num_nodes,
      gpus: found.num_gpus,
      replicas: found.num_replicas,
      groups: found.num_groups,
    },
  };
}

describe('evaluatePlan', () => {
  it('has layers migrate one after another, each as long as its slowest GPU', () => {
    const { migration } = evaluatePlan(load, after, {
      previous: before,
      expertBytes: 1e9,
      interNodeGBps: 10,
      intraNodeGBps: 100,
    });
    expect(migration!.share).toBeGreaterThan(0);
    const { sameNode, remote, sameGpu } = migration!.transfers;
    expect(migration!.bytes).toBe((sameNode + remote) * 1e9);
    expect(migration!.layers.reduce((sum, layer) => sum + layer.transfers, 0)).toBe(
      sameGpu + sameNode + remote,
    );
    let end = 0;
    for (const layer of migration!.layers) {
      expect(layer.startSeconds).toBe(end);
      end = layer.endSeconds;
    }
    expect(migration!.seconds).toBe(end);
    expect(migration!.longestStepSeconds).toBeLessThanOrEqual(0.2);
  });
});

describe('placementHtml', () => {
  const named = (name: string, plan: typeof after) => ({
    name,
    evaluation: evaluatePlan(load, plan, { previous: before }),
  });
  const page = placementHtml({
    title: '<b>"dump"</b>',
    before: named('in force', before),
    after: named('optimal', after),
  });

  it('is one page that loads and runs nothing', () => {
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).not.toMatch(/<script|https?:|url\(|<link|<img/);
    expect(page).not.toContain('<b>"dump"</b>');
    expect(page).toContain('&#60;b&#62;');
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
    for (const tag of ['svg', 'section', 'div', 'p', 'g']) {
      expect(page.match(new RegExp(`<${tag}[ >]`, 'g'))!.length, tag).toBe(
        page.match(new RegExp(`</${tag}>`, 'g'))!.length,
      );
    }
  });

  it('stays whole without any load', () => {
    const zeros = { layers, experts, counts: new Float64Array(layers * experts) };
    const plan = { name: 'zero', evaluation: evaluatePlan(zeros, before, { previous: before }) };
    expect(placementHtml({ title: 'zero', before: plan, after: plan })).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('needs plans of one model', () => {
    const one = initialPlan(1, experts, deployment);
    const evaluation = evaluatePlan({ layers: 1, experts, counts: counts.slice(0, experts) }, one);
    expect(() =>
      placementHtml({ title: '', before: { name: 'a', evaluation }, after: named('b', after) }),
    ).toThrow('layers');
  });
});

describe('heatmapLines', () => {
  it('marks GPUs by their load, and leaves layers without tokens blank', () => {
    const lines = heatmapLines(Float64Array.of(1, 1, 1, 1, 0, 0, 0, 0, 4, 2, 1, 1), 4, {
      layerIds: [3, 4, 12],
    });
    expect(lines.slice(1)).toEqual([' 3 ░░░░ 1.000', ' 4      no tokens', '12 █░·· 2.000']);
  });

  it('shows the highest where GPUs or layers share a mark', () => {
    const lines = heatmapLines(Float64Array.of(4, 2, 1, 1, 1, 1, 1, 1), 4, { columns: 2, rows: 1 });
    expect(lines[0]).toContain('2 GPUs a mark, 2 layers a line');
    expect(lines[1]).toBe('1 █░ 2.000');
    expect(() => heatmapLines(new Float64Array(5), 4)).toThrow('rows of 4');
  });
});
