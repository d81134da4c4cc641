import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connectMpi } from '@moestack/collectives/mpi';
import { createGateway, listen } from '@moestack/serving';
import { createEmbeddedBackend, followEmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: fileURLToPath(tinyMoe) },
    name: { type: 'string', default: 'moe' },
    port: { type: 'string', default: '8000' },
    payload: { type: 'string', default: 'f32' },
    tensor: { type: 'string', default: '1' },
    'rebalance-seconds': { type: 'string', default: '0' },
  },
});

const communicator = connectMpi({ timeoutSeconds: 120 });
const options = {
  modelDirectory: values.model,
  name: values.name,
  payload: values.payload,
  communicator,
  decodeTensor: Number(values.tensor),
};
const period = Number(values['rebalance-seconds']);
const rebalance = {
  periodSeconds: period,
  minIntervalSeconds: period,
  recorder: { bucketSeconds: Math.min(60, period / 5) },
};
// The job ends as a whole, when rank 0 says so: it has requests to finish first.
const terminated = new Promise((resolve) => {
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, resolve);
});

const processes = await communicator.gather(Int32Array.of(process.pid));
if (communicator.rank === 0) {
  const backend = await createEmbeddedBackend({
    ...options,
    ...(period > 0 && { rebalance }),
    onRebalance: ({ movedExperts, imbalanceBefore, imbalanceAfter }) =>
      console.log(
        `${movedExperts} experts moved: imbalance ${imbalanceBefore.toFixed(2)}, now ${imbalanceAfter.toFixed(2)}`,
      ),
    onRestart: ({ error }) => {
      console.error(error);
      process.exit(1);
    },
  });
  const server = await listen(createGateway({ backend }), { port: Number(values.port) });
  console.log(`processes ${processes.join(' ')} serve at ${server.url}`);
  await terminated;
  await server.close({ drainSeconds: 5 });
  await backend.close();
} else {
  await followEmbeddedBackend(options);
}
communicator.close();
