import { readFixtureJson } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Deployment,
  initialPlan,
  MigrationSchedule,
  PlacementError,
  type Plan,
  planFromSlots,
  planMigration,
  type SlotTransfer,
} from '../src/index.js';

interface Preserved {
  num_layers: number;
  num_experts: number;
  num_replicas: number;
  num_nodes: number;
  num_gpus: number;
  phy2log_old: number[][];
  phy2log_new: number[][];
  phy2log_new_slots_preserved: number[][];
  replicas_to_transfer: number;
  slots_changed_before: number;
  slots_changed_after: number;
}

describe.each(['preserve_prefill_small', 'preserve_decode_small'])('planMigration on %s', (name) => {
  const golden = readFixtureJson<Preserved>(`placement/interop/${name}.json`);
  const options = {
    layers: golden.num_layers,
    experts: golden.num_experts,
    deployment: { nodes: golden.num_nodes, gpus: golden.num_gpus, replicas: golden.num_replicas },
  };
  const before = planFromSlots(golden.phy2log_old.flat(), options);
  const after = planFromSlots(golden.phy2log_new.flat(), options);

  it('keeps slots inside a GPU as the reference does', () => {
    const migration = planMigration(before, after);
    expect([...migration.after.physicalToLogical]).toEqual(golden.phy2log_new_slots_preserved.flat());
    expect(migration.received).toBe(golden.replicas_to_transfer);
    expect(migration.transfers.length).toBe(golden.slots_changed_after);
  });

  it('changes more slots without keeping them', () => {
    const migration = planMigration(before, after, { preserveSlots: false });
    expect(migration.transfers.length).toBe(golden.slots_changed_before);
    expect(migration.received).toBe(golden.replicas_to_transfer);
  });
});

const deployment: Deployment = { nodes: 2, gpus: 4, replicas: 12 };
const EXPERTS = 7;

/** A random whole plan: every expert once, the rest at will, shuffled. */
const plans = fc
  .array(fc.tuple(fc.array(fc.nat(EXPERTS - 1), { minLength: 5, maxLength: 5 }), fc.nat()), {
    minLength: 2,
    maxLength: 2,
  })
  .map((layers) => {
    const slots = layers.flatMap(([extra, seed]) => {
      const row = [0, 1, 2, 3, 4, 5, 6, ...extra];
      for (let i = row.length - 1; i > 0; i--) {
        const j = (seed * 31 + i * 7919) % (i + 1);
        [row[i], row[j]] = [row[j]!, row[i]!];
      }
      return row;
    });
    return planFromSlots(slots, { layers: 2, experts: EXPERTS, deployment });
  });

const gpuOf = (slot: number): number => Math.floor(slot / 3);

describe('transfers', () => {
  it('come from the nearest holder and cover exactly what changes', () => {
    fc.assert(
      fc.property(plans, plans, (before, after) => {
        const { transfers, after: target, received } = planMigration(before, after);
        const old = (layer: number, slot: number): number => before.physicalToLogical[layer * 12 + slot]!;
        let changed = 0;
        for (let i = 0; i < 24; i++)
          if (target.physicalToLogical[i] !== before.physicalToLogical[i]) changed++;
        expect(transfers.length).toBe(changed);
        // A transfer is a multiset gain of its GPU, since what stays keeps its slot.
        expect(received).toBe(changed);
        for (const { layer, slot, sourceSlot, expert, kind } of transfers) {
          expect(target.physicalToLogical[layer * 12 + slot]).toBe(expert);
          expect(old(layer, sourceSlot)).toBe(expert);
          const gpus = Array.from({ length: 12 }, (_, s) => s)
            .filter((s) => old(layer, s) === expert)
            .map(gpuOf);
          const onGpu = gpus.includes(gpuOf(slot));
          const onNode = gpus.some((g) => g >> 1 === gpuOf(slot) >> 1);
          expect(kind).toBe(onGpu ? 'sameGpu' : onNode ? 'sameNode' : 'remote');
        }
      }),
      { seed: 31, numRuns: 200 },
    );
  });
});

describe('MigrationSchedule', () => {
  const options = { expertBytes: 44_050_944 };

  it('never lets the plan in force name a slot without its weights, in whatever order things happen', () => {
    fc.assert(
      fc.property(
        plans,
        plans,
        fc.array(fc.nat(99), { maxLength: 60 }),
        fc.nat(60),
        (before, after, moves, abandonAt) => {
          const schedule = new MigrationSchedule(planMigration(before, after), {
            ...options,
            maxStallSeconds: 1e-3,
          });
          const memory = before.physicalToLogical.slice();
          const staged = new Map<number, number>();
          const flying: SlotTransfer[] = [];
          moves.forEach((move, i) => {
            if (i === abandonAt) schedule.abandon();
            if (move % 3 === 0) flying.push(...(schedule.nextStep()?.transfers ?? []));
            if (move % 3 === 1 && flying.length > 0 && i < abandonAt) {
              const [transfer] = flying.splice(move % flying.length, 1) as [SlotTransfer];
              const source = memory[transfer.layer * 12 + transfer.sourceSlot];
              expect(source).toBe(transfer.expert);
              staged.set(transfer.layer * 12 + transfer.slot, source!);
              schedule.arrived(transfer);
            }
            if (move % 3 === 2) {
              const layer = move % 2;
              if (!schedule.canSwitch(layer) || i >= abandonAt) {
                if (!schedule.isNew(layer)) expect(() => schedule.switchLayer(layer)).toThrow(PlacementError);
              } else {
                schedule.switchLayer(layer);
                for (const [slot, expert] of staged) {
                  if (Math.floor(slot / 12) !== layer) continue;
                  memory[slot] = expert;
                  staged.delete(slot);
                }
              }
            }
            expect([...schedule.currentPlan().physicalToLogical]).toEqual([...memory]);
          });
        },
      ),
      { seed: 32, numRuns: 200 },
    );
  });

  it('ends on the new plan', () => {
    fc.assert(
      fc.property(plans, plans, (before, after) => {
        const migration = planMigration(before, after);
        const schedule = new MigrationSchedule(migration, { ...options, maxStallSeconds: 1e-9 });
        for (let step = schedule.nextStep(); step; step = schedule.nextStep()) {
          for (const transfer of step.transfers) schedule.arrived(transfer);
          for (const layer of step.completes) schedule.switchLayer(layer);
        }
        expect(schedule.isDone).toBe(true);
        expect(schedule.currentPlan()).toEqual(migration.after);
      }),
      { seed: 33, numRuns: 100 },
    );
  });

  it('keeps every step of a complete reshuffle of 58 layers below the longest stall allowed', () => {
    const wide: Deployment = { nodes: 4, gpus: 32, replicas: 288 };
    const before = initialPlan(58, 256, wide);
    const turned = before.physicalToLogical.map(
      (_, i) => before.physicalToLogical[Math.floor(i / 288) * 288 + ((i + 81) % 288)]!,
    );
    const after: Plan = planFromSlots(turned, { layers: 58, experts: 256, deployment: wide });
    const { steps } = new MigrationSchedule(planMigration(before, after), options);
    expect(steps.length).toBeGreaterThan(1);
    for (const step of steps) expect(step.seconds).toBeLessThanOrEqual(0.2);
    expect(steps.flatMap((step) => step.completes).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 58 }, (_, i) => i),
    );
  });

  it('refuses arrivals that it did not ask for', () => {
    const before = initialPlan(1, EXPERTS, deployment);
    const after = planFromSlots([...before.physicalToLogical].reverse(), {
      layers: 1,
      experts: EXPERTS,
      deployment,
    });
    const schedule = new MigrationSchedule(planMigration(before, after), options);
    const [first] = schedule.steps[0]!.transfers;
    expect(() => schedule.arrived(first!)).toThrowError(/under way/);
    schedule.nextStep();
    schedule.arrived(first!);
    expect(() => schedule.arrived(first!)).toThrowError(/under way/);
    expect(() => schedule.switchLayer(0)).toThrowError(/still lacks/);
  });
});
