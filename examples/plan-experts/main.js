import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { initialPlan, rebalance } from '@moestack/placement';
import {
  activeLayers,
  fillLayers,
  selectLayers,
  slotsOfPlan,
  writeSlotsFile,
} from '@moestack/placement/interop';
import { readEnginePaths } from '@moestack/placement/interop/node';
import { evaluatePlan, placementHtml } from '@moestack/placement/report';

const [dump = fileURLToPath(new URL('dump.pt', import.meta.url)), gpus = '8', redundant = '8', nodes = '2'] =
  process.argv.slice(2);

// What the engine recorded: all layers of the model, of which dense ones have no tokens.
const recorded = await readEnginePaths([dump]);
if (recorded.kind !== 'load') throw new Error(`expected recorded load in ${dump}`);
const { load, layerIds } = selectLayers(recorded.counts, activeLayers(recorded.counts.load));

const deployment = { nodes: Number(nodes), gpus: Number(gpus), replicas: load.experts + Number(redundant) };
const before = initialPlan(load.layers, load.experts, deployment);
const after = rebalance(load, deployment);

const figures = [before, after].map((plan) => evaluatePlan(load, plan, { previous: before }));
const [highestBefore, highestAfter] = figures.map(({ report }) =>
  (1 + report.balance.maxViolation).toFixed(3),
);
console.log(`highest load / mean: ${highestBefore} -> ${highestAfter}`);
console.log(`above the proven bound: ${(100 * figures[1].report.gap).toFixed(2)}%`);
console.log(`replicas that move: ${figures[1].migration.received} of ${after.physicalToLogical.length}`);

const slots = fillLayers(slotsOfPlan(after, { layerIds }), recorded.counts.load.layers);
await writeFile('expert-location.json', writeSlotsFile(slots, 'sglang'));
const named = (name, evaluation) => ({ name, evaluation });
const html = placementHtml({
  title: dump,
  before: named('in force', figures[0]),
  after: named('optimal', figures[1]),
  layerIds,
});
await writeFile('placement.html', html);
console.log('written: expert-location.json, placement.html');
