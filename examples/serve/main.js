import { createGateway, listen } from '@moestack/serving';
import { createEmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';

const backend = await createEmbeddedBackend({ modelDirectory: tinyMoe, name: 'tiny-moe' });
const gateway = createGateway({ backend, onError: (error) => console.error(error) });
const server = await listen(gateway, { port: Number(process.env.PORT ?? 8000) });
console.log(`listening on ${server.url}`);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await server.close({ drainSeconds: 10 });
    await backend.close();
  });
}
