import { encodeLoad } from '@moestack/placement';
import { loadMetrics, traceLoad } from '@moestack/routing';
import { decodeRoutingTrace } from '@moestack/routing/trace';
import { readText, writeText } from '../files.js';

const load = traceLoad(await decodeRoutingTrace(readText('trace.json')));
writeText('load.json', encodeLoad(load));
const busiest = Array.from({ length: load.layers }, (_, layer) => {
  const { maxVio } = loadMetrics(load.counts.subarray(layer * load.experts, (layer + 1) * load.experts));
  return (1 + maxVio).toFixed(2);
});
console.log(`busiest expert of each layer: ${busiest.join(', ')} times its share`);
