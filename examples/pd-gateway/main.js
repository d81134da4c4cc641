import { createGateway, createPoolBackend, listen, ServeConfig } from '@moestack/serving';
import { pinned, rooms, startPools } from './pools.js';

const pools = await startPools();

// What a configuration file would say; for real pools, only the addresses differ.
const config = ServeConfig.parse({
  schemaVersion: 1,
  backends: [
    {
      type: 'vllm',
      name: 'vllm',
      connector: 'nixl',
      models: ['deepseek-v3'],
      policy: { type: 'cache-aware' },
      prefill: [{ url: pools.vllm.prefill }],
      decode: [{ url: pools.vllm.decode }],
    },
    {
      type: 'sglang',
      name: 'sglang',
      models: ['deepseek-r1'],
      prefill: [{ url: pools.sglang.prefill, bootstrapPort: 8998 }],
      decode: [{ url: pools.sglang.decode }],
    },
  ],
});
const backends = config.backends.map((backend) => createPoolBackend(backend, { env: process.env }));
const handoffs = {};
const observer = {
  observe(event) {
    if (event.type === 'handoff') handoffs[event.result] = (handoffs[event.result] ?? 0) + 1;
  },
};
const server = await listen(createGateway({ backend: backends, observer }), { port: 0 });

const ask = (model, stream, signal) =>
  fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'the people of the United States' }],
      stream,
    }),
    signal,
  });

for (const model of ['deepseek-v3', 'deepseek-r1']) {
  const answer = await (await ask(model, false)).json();
  console.log(`${model}: ${answer.choices[0].message.content}`);
}

// Twenty clients leave, before the head of their answer or after some words; no KV block and no room may stay behind.
const leave = async (index) => {
  const client = new AbortController();
  const timer = setTimeout(() => client.abort(), 20 * index);
  try {
    const response = await ask(index % 2 === 0 ? 'deepseek-v3' : 'deepseek-r1', true, client.signal);
    const reader = response.body.getReader();
    for (let words = 0; words < index % 5; words++) await reader.read();
    client.abort();
  } catch {
    // The timer was first.
  }
  clearTimeout(timer);
};
await Promise.all(Array.from({ length: 20 }, (_, index) => leave(index)));
await server.close();
await Promise.all(backends.map((backend) => backend.close()));
console.log(`after 20 clients that left: ${pinned.size} pinned KV blocks, ${rooms.size} open rooms`);
console.log(`handed over: ${JSON.stringify(handoffs)}`);
await pools.stop();
