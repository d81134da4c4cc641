import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { accumulationError, distributions } from '@moestack/fp8';
import { page } from './page.js';
import { linePlot } from './plot.js';

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'accumulation.html' },
    'max-k': { type: 'string', default: '16384' },
    size: { type: 'string', default: '32' },
    seed: { type: 'string', default: '0' },
  },
});
const [maxK, size, seed] = [values['max-k'], values.size, values.seed].map(Number);
if (![maxK, size, seed].every(Number.isInteger) || maxK < 256 || size < 2) {
  console.error('expected whole numbers: --max-k from 256 on, --size from 2 on, --seed');
  process.exit(1);
}

const lengths = [];
for (let k = 128; k <= maxK; k *= 2) lengths.push(k);
/** The report speaks of K = 4096; a shorter study looks at its longest K. */
const studiedK = Math.min(4096, maxK);

const methods = [
  { name: 'Hopper, no promotion', accumulate: 'hopper' },
  { name: 'Hopper, every 512', accumulate: 'hopper', promoteEvery: 512 },
  { name: 'Hopper, every 128', accumulate: 'hopper', promoteEvery: 128 },
  { name: 'Blackwell, no promotion', accumulate: 'blackwell' },
  { name: 'float32', accumulate: 'f32' },
];

const study = ({ name: _, ...method }, options) => accumulationError({ size, seed, ...method, ...options });

console.log(`error of accumulation, ${size} x ${size} dot products of E4M3 operands`);
const byLength = distributions.map((distribution) => ({
  distribution,
  series: methods.map((method) => ({
    name: method.name,
    points: lengths.map((k) => [k, study(method, { k, distribution }).frobenius]),
  })),
}));

const metrics = ['frobenius', 'median', 'p99', 'maximum', 'maximumOfLargest', 'bias'];
const table = distributions.flatMap((distribution) =>
  methods.map((method) => ({
    distribution,
    method: method.name,
    ...study(method, { k: studiedK, distribution }),
  })),
);

// From zero-mean to all but positive data: N(mean, 1).
const means = Array.from({ length: 17 }, (_, i) => i / 8);
const shifted = means.map((mean) => ({ mean, ...study(methods[0], { k: studiedK, mean }) }));
const target = 0.02;

/** Mean at which a metric reaches the target, between two of the studied ones; undefined where it never does. */
function crossing(metric) {
  for (let i = 1; i < shifted.length; i++) {
    const [low, high] = [shifted[i - 1], shifted[i]];
    if (low[metric] > target || high[metric] < target) continue;
    const share = Math.log(target / low[metric]) / Math.log(high[metric] / low[metric]);
    return low.mean + share * (high.mean - low.mean);
  }
  return undefined;
}

const located = ['frobenius', 'median', 'p99', 'maximumOfLargest'].map((metric) => ({
  metric,
  mean: crossing(metric),
}));
const exponent = (value) => value.toExponential(1);
for (const row of table.filter(({ method }) => method.startsWith('Hopper'))) {
  console.log(
    `${row.distribution.padEnd(18)} ${row.method.padEnd(22)} K=${studiedK}  Frobenius ${exponent(row.frobenius)}  median ${exponent(row.median)}  p99 ${exponent(row.p99)}  max ${exponent(row.maximum)}`,
  );
}
console.log(`where Hopper without promotion is off by 2 % at K=${studiedK}, for operands from N(mean, 1):`);
for (const { metric, mean } of located) {
  console.log(
    `  ${metric.padEnd(18)} ${mean === undefined ? 'nowhere from mean 0 to 2' : `at mean ${mean.toFixed(2)}`}`,
  );
}

const plots = byLength.map(({ distribution, series }) =>
  linePlot({ title: `Data: ${distribution}`, x: 'K', y: 'relative Frobenius error', series, logX: true }),
);
const meanSeries = ['frobenius', 'p99', 'maximumOfLargest'].map((metric) => ({
  name: metric,
  points: shifted.map((row) => [row.mean, row[metric]]),
}));
const meanPlot = linePlot({
  title: `Hopper without promotion, K = ${studiedK}, data N(mean, 1)`,
  x: 'mean of the data',
  y: 'relative error',
  series: meanSeries,
  line: { y: target, label: '2 %' },
});
writeFileSync(values.out, page({ size, seed, studiedK, plots, meanPlot, table, metrics, located }));
console.log(`written: ${values.out}`);
