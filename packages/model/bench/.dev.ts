import { runBench } from '@moestack/tooling/bench';
import definition from './engine.bench.js';
const report = await runBench(definition, (name) => console.error(name));
for (const row of report.rows) console.log(row.name.padEnd(50), row.median.toPrecision(4), row.unit);
for (const ratio of report.ratios) console.log(ratio.name.padEnd(50), ratio.median?.toFixed(3) ?? ratio.skipped, ratio.aim ?? '');
