import { describe, expect, it } from 'vitest';
import { createRouter, type RouterConfig } from '../src/index.js';
import { type GateCase, GateTensors, gateCases } from './gate-cases.js';

function configOf(gate: GateCase): RouterConfig {
  return {
    experts: gate.n_experts,
    topK: gate.topk,
    groups: gate.n_groups,
    topKGroups: gate.topk_groups,
    scoring: gate.score_func,
    routedScalingFactor: gate.route_scale,
    precision: gate.dtype === 'bf16' ? 'bf16' : 'f32',
  };
}

describe('gate fixtures', () => {
  it('covers all twenty cases', () => {
    expect(gateCases).toHaveLength(20);
  });

  it.each(gateCases)('routes $name as the reference does', (gate) => {
    const tensors = new GateTensors(gate.file);
    const router = createRouter(configOf(gate));
    const decision = router.route(
      tensors.f32('logits'),
      gate.tokens,
      gate.has_bias ? { bias: tensors.f32('bias') } : {},
    );
    expect(decision.indices).toEqual(tensors.i32('canonical_indices'));
    if (gate.n_groups > 1) expect(decision.groups).toEqual(tensors.i32('canonical_groups'));
    else expect(decision.groups).toBeUndefined();
    const expected = tensors.f32('canonical_weights');
    expect(decision.weights).toHaveLength(expected.length);
    if (gate.dtype === 'bf16') expect(decision.weights).toEqual(expected);
    let worst = 0;
    for (let i = 0; i < expected.length; i++) {
      worst = Math.max(worst, Math.abs(decision.weights[i]! - expected[i]!));
    }
    expect(worst).toBeLessThanOrEqual(2e-7 * gate.route_scale);
    const counts = new Int32Array(gate.n_experts);
    for (const expert of decision.indices) counts[expert]! += 1;
    expect(decision.counts).toEqual(counts);
  });
});
