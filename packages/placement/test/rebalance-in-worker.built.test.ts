import { rebalance } from '@moestack/placement';
import { rebalanceInWorker } from '@moestack/placement/node';
import { describe, expect, it } from 'vitest';

const counts = Float64Array.from({ length: 4 * 64 }, (_, i) => (i * 7919) % 1000);
const load = { layers: 4, experts: 64, counts };
const deployment = { nodes: 2, gpus: 8, replicas: 80 };

describe('rebalanceInWorker', () => {
  it('gives the plan that rebalance gives', async () => {
    expect(await rebalanceInWorker(load, deployment)).toEqual(rebalance(load, deployment));
  });

  it('throws what rebalance throws', async () => {
    await expect(rebalanceInWorker(load, { ...deployment, replicas: 81 })).rejects.toMatchObject({
      name: 'PlacementError',
      code: 'placement/bad-config',
      value: 81,
    });
  });

  it('ends when it is aborted', async () => {
    const controller = new AbortController();
    const planning = rebalanceInWorker(load, deployment, { signal: controller.signal });
    controller.abort();
    await expect(planning).rejects.toMatchObject({ code: 'aborted' });
    await expect(rebalanceInWorker(load, deployment, { signal: controller.signal })).rejects.toMatchObject({
      code: 'aborted',
    });
  });

  it('ends when it takes too long', async () => {
    await expect(rebalanceInWorker(load, deployment, { timeoutSeconds: 1e-3 })).rejects.toMatchObject({
      code: 'timeout',
    });
  });
});
