import { fixturePath } from '@moestack/fixtures';
import { MigrationSchedule, type Plan, planFromSlots, planMigration } from '@moestack/placement';
import { describe, expect, it } from 'vitest';
import { openRuntime, type Precision } from '../src/index.js';
import { batchOf, SIZES } from './batches.js';
import { maxAbs } from './golden.js';
import { greedy, LoopbackRanks } from './rank-group.js';

const directory = fixturePath('routing-model/tiny-v3');
const LAYERS = 3;
const EXPERTS = 16;
const RANKS = 4;
const REPLICAS = 20;
const text = Int32Array.from({ length: 30 }, (_, i) => (i * 37 + 11) % 96);
const shorter = text.slice(3, 14);

/** Experts in another order in each layer, replicas of different ones. */
function planOf(factor: number): Plan {
  const slots = Array.from({ length: LAYERS }, (_, layer) =>
    Array.from({ length: REPLICAS }, (_, slot) => ((slot * factor + layer) % REPLICAS) % EXPERTS),
  ).flat();
  const deployment = { nodes: 1, gpus: RANKS, replicas: REPLICAS };
  return planFromSlots(slots, { layers: LAYERS, experts: EXPERTS, deployment });
}
const before = planOf(7);
const { after } = planMigration(before, planOf(3));
const spareSlots = REPLICAS / RANKS;

async function stage(group: LoopbackRanks, row: number, plan: Plan): Promise<void> {
  await Promise.all(group.runtimes.map((runtime) => runtime.placement!.stageLayer(row, plan)));
}

function switchAll(group: LoopbackRanks): void {
  for (const runtime of group.runtimes) runtime.placement!.switchLayer();
}

describe.each(['f32', 'fp8-weights', 'w8a8'] as Precision[])('a new placement, %s', (precision) => {
  it('gives the same bits layer by layer where tokens come back one selection at a time', async () => {
    const routing = { placement: before, mode: 'low-latency', payload: 'bf16', spareSlots } as const;
    const group = await LoopbackRanks.open(directory, RANKS, routing, { precision });
    const [first, second] = await group.step([text, shorter]);
    for (let row = 0; row < LAYERS; row++) {
      await stage(group, row, after);
      // Weights have arrived, and tokens still go the old way.
      expect(maxAbs((await group.step([text]))[0]!, first!)).toBe(0);
      switchAll(group);
      const now = await group.step([text, shorter]);
      expect(maxAbs(now[0]!, first!)).toBe(0);
      expect(maxAbs(now[1]!, second!)).toBe(0);
    }
    for (const { placement } of group.runtimes) {
      expect(placement!.plan.physicalToLogical).toEqual(after.physicalToLogical);
    }
    const received = group.runtimes.reduce((sum, { placement }) => sum + placement!.receivedExperts, 0);
    expect(received).toBe(
      planMigration(before, after).transfers.filter((one) => one.kind !== 'sameGpu').length,
    );
    await group.close();
  });

  it('gives the bits of ranks that started with it where ranks add up their experts', async () => {
    const routing = { payload: 'bf16', spareSlots } as const;
    const group = await LoopbackRanks.open(
      directory,
      RANKS,
      { ...routing, placement: before },
      { precision },
    );
    for (let row = 0; row < LAYERS; row++) {
      await stage(group, row, after);
      switchAll(group);
    }
    const logits = (await group.step([text]))[0]!;
    const emulate = { payload: 'bf16', placement: after, ranks: RANKS } as const;
    const runtime = await openRuntime(directory, { ...SIZES, precision, emulate });
    expect(maxAbs(logits, runtime.forwardAll(batchOf(text)))).toBe(0);
    await group.close();
  });
});

describe('a placement switch', () => {
  it('keeps the greedy tokens of sequences that run meanwhile', async () => {
    const open = () => LoopbackRanks.open(directory, RANKS, { placement: before, spareSlots });
    const still = await open();
    const expected = await greedy(still, [text, shorter], 10);
    await still.close();
    const moving = await open();
    let row = 0;
    const migration = planMigration(before, after);
    const schedule = new MigrationSchedule(migration, {
      expertBytes: moving.runtimes[0]!.placement!.expertBytes,
    });
    const step = schedule.nextStep()!;
    expect(step.completes).toHaveLength(LAYERS);
    const found = await greedy(moving, [text, shorter], 10, async () => {
      if (row === LAYERS) return;
      expect(schedule.canSwitch(row)).toBe(false);
      await stage(moving, row, migration.after);
      for (const transfer of step.transfers) if (transfer.layer === row) schedule.arrived(transfer);
      schedule.switchLayer(row);
      switchAll(moving);
      row++;
    });
    expect(row).toBe(LAYERS);
    expect(schedule.isDone).toBe(true);
    expect(found).toEqual(expected);
    await moving.close();
  });

  it('can be dropped before it is in force', async () => {
    const group = await LoopbackRanks.open(directory, RANKS, { placement: before, spareSlots });
    const logits = (await group.step([text]))[0]!;
    await stage(group, 1, after);
    await expect(stage(group, 2, after)).rejects.toMatchObject({ code: 'model/placement-busy' });
    for (const { placement } of group.runtimes) placement!.dropStaged();
    expect(maxAbs((await group.step([text]))[0]!, logits)).toBe(0);
    expect(() => group.runtimes[0]!.placement!.switchLayer()).toThrow(
      expect.objectContaining({ code: 'model/placement-busy' }),
    );
    await stage(group, 2, after);
    switchAll(group);
    await group.close();
  });

  it('refuses what does not fit, on every rank and before anything moves', async () => {
    const group = await LoopbackRanks.open(directory, RANKS, { placement: before, spareSlots: 1 });
    const results = await Promise.allSettled(
      group.runtimes.map(({ placement }) => placement!.stageLayer(0, after)),
    );
    for (const result of results) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'model/no-spare-slots' } });
    }
    await expect(stage(group, 9, after)).rejects.toMatchObject({ code: 'model/bad-options' });
    await expect(stage(group, 0, { ...after, layers: 2 })).rejects.toMatchObject({
      code: 'model/bad-options',
    });
    await group.close();
    await expect(
      LoopbackRanks.open(directory, RANKS, { placement: before, spareSlots: 99 }),
    ).rejects.toMatchObject({ code: 'model/bad-options' });
  });
});
