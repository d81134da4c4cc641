import { ExpertLoad, Placement } from '@moestack/schemas';
import { PlacementError } from './errors.js';
import { checkPlan } from './operands.js';
import { planExperts, planFromSlots } from './plan.js';
import type { Deployment, Load, Plan } from './types.js';

/** JSON of a plan, by the `Placement` schema of `@moestack/schemas`. */
export function encodePlan(plan: Plan): string {
  const experts = planExperts(plan);
  checkPlan(plan, experts);
  const { layers, deployment, physicalToLogical, replicaRank } = plan;
  const file = { schemaVersion: 1, layers, experts, deployment, physicalToLogical, replicaRank } as const;
  return JSON.stringify(Placement.encode(file as Placement));
}

/** A plan from the JSON that {@link encodePlan} writes, checked in full. */
export function decodePlan(text: string): Plan {
  const file = parse(text, Placement, 'a placement');
  const { layers, experts, physicalToLogical, replicaRank } = file;
  const { nodes, gpus, replicas, groups } = file.deployment;
  const deployment: Deployment = { nodes, gpus, replicas, ...(groups === undefined ? {} : { groups }) };
  const plan = planFromSlots(physicalToLogical, { layers, experts, deployment });
  const ranked: Plan = { ...plan, replicaRank };
  checkPlan(ranked, experts);
  return ranked;
}

/** JSON of a load, by the `ExpertLoad` schema of `@moestack/schemas`. */
export function encodeLoad(load: Load): string {
  const { layers, experts } = load;
  const file = { schemaVersion: 1, layers, experts, counts: Float64Array.from(load.counts) } as const;
  return JSON.stringify(ExpertLoad.encode(file));
}

/** A load from the JSON that {@link encodeLoad} writes. */
export function decodeLoad(text: string): Load {
  const { layers, experts, counts } = parse(text, ExpertLoad, 'an expert load');
  return { layers, experts, counts };
}

interface Schema<T> {
  safeDecode(data: never): { success: true; data: T } | { success: false; error: Error };
}

function parse<T>(text: string, schema: Schema<T>, what: string): T {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw badFile(`expected JSON of ${what}`, cause);
  }
  const result = schema.safeDecode(data as never);
  if (!result.success) throw badFile(`expected ${what}: ${result.error.message.slice(0, 500)}`, result.error);
  return result.data;
}

function badFile(message: string, cause: unknown): PlacementError {
  return new PlacementError({
    code: 'placement/bad-file',
    message,
    remedy: 'pass a file that this version of moestack wrote',
    cause,
  });
}
