import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { loadMetrics } from '@moestack/routing';
import { drawPage } from './draw.js';
import { simulate } from './simulate.js';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '300' },
    tokens: { type: 'string', default: '512' },
    gamma: { type: 'string', default: '0.01' },
    'freeze-at': { type: 'string' },
    seed: { type: 'string', default: '1' },
    html: { type: 'string', default: 'routing-balance.html' },
  },
});

/** A whole number from the command line. */
function whole(name, least) {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value >= least && value <= 100_000) return value;
  console.error(`expected a whole number from ${least} to 100000 for --${name}, got ${values[name]}`);
  process.exit(2);
}

const steps = whole('steps', 1);
const options = {
  steps,
  tokens: whole('tokens', 1),
  gamma: Number(values.gamma),
  freezeAt: values['freeze-at'] === undefined ? steps : whole('freeze-at', 0),
  seed: whole('seed', 0),
};
const result = simulate(options);
const { none, bias } = result.arms;
console.log('step   MaxVio without   with bias');
for (let step = 0; step < steps; step += Math.max(1, Math.floor(steps / 12))) {
  console.log(
    `${String(step).padStart(4)}   ${none.maxVio[step].toFixed(2).padStart(14)}   ${bias.maxVio[step].toFixed(2).padStart(9)}`,
  );
}
for (const [name, arm] of [
  ['without', none],
  ['with bias', bias],
]) {
  const { gini, balancedness } = loadMetrics(arm.counts);
  console.log(
    `${name}: MaxVio batch ${arm.tracker.batchMaxVio().toFixed(2)}, global ${arm.tracker.global().maxVio.toFixed(2)}; last step Gini ${gini.toFixed(2)}, balancedness ${balancedness.toFixed(2)}, busiest rank ${(100 * arm.maxRank).toFixed(0)}% above the mean`,
  );
}
writeFileSync(values.html, drawPage(result, options));
console.log(`drawn in ${values.html}`);
