import { decodeLoad, encodePlan, lowerBound, rebalance } from '@moestack/placement';
import { readText, writeText } from '../files.js';
import { fullestOf } from '../imbalance.js';

const load = decodeLoad(readText('load.json'));
const plan = rebalance(load, { nodes: 2, gpus: 4, replicas: load.experts + 4 });
writeText('placement.json', encodePlan(plan));
const bound = lowerBound(load, plan.deployment);
console.log(
  `fullest rank: ${fullestOf(load, plan)
    .map((full, layer) => `${Math.round(full)} (no plan below ${Math.ceil(bound[layer])})`)
    .join(', ')}`,
);
