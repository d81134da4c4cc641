import { createEmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';

const RANKS = 4;
const subjects = ['people', 'King', 'ship', 'house', 'war', 'law', 'river', 'church'];
const prompts = subjects.map((subject) => `In those days the ${subject}`);

const backend = await createEmbeddedBackend({
  modelDirectory: tinyMoe,
  name: 'tiny-moe',
  decodeRanks: RANKS,
  redundantExperts: RANKS,
});

const before = await measured('before', () => completeAll());
const running = completeAll();
const [moved] = await backend.rebalance();
console.log(
  `moved ${moved.movedExperts} experts of ${moved.layers} layers while ${prompts.length} requests ran`,
);
const during = await running;
const after = await measured('after', () => completeAll());

const isSame =
  JSON.stringify(before.texts) === JSON.stringify(during) &&
  JSON.stringify(during) === JSON.stringify(after.texts);
console.log(`greedy texts before, during and after: ${isSame ? 'the same' : 'DIFFERENT'}`);
console.log(`highest over mean rank: ${before.imbalance.toFixed(3)} -> ${after.imbalance.toFixed(3)}`);
await backend.close();
process.exitCode = isSame && after.imbalance < before.imbalance ? 0 : 1;

/** Runs `work` and reports, from the counters of the ranks, how its tokens spread over them. */
async function measured(name, work) {
  const [start] = await backend.experts();
  const texts = await work();
  const [end] = await backend.experts();
  const since = (counter) => end.ranks.map((rank, i) => rank[counter] - start.ranks[i][counter]);
  const rows = since('computedRows');
  const kilobytes = since('receivedBytes').map((bytes) => Math.round(bytes / 1000));
  console.log(`${name}: rows computed by rank ${rows.join(' ')}; kB received ${kilobytes.join(' ')}`);
  return { texts, imbalance: (Math.max(...rows) * RANKS) / rows.reduce((sum, one) => sum + one, 0) };
}

function completeAll() {
  return Promise.all(prompts.map((prompt) => complete(prompt)));
}

async function complete(text) {
  const request = {
    requestId: text,
    model: 'tiny-moe',
    prompt: { type: 'text', text },
    maxTokens: 64,
    sampling: { temperature: 0 },
    stop: [],
    ignoreEos: true,
  };
  let answer = '';
  for await (const event of backend.generate(request, { signal: AbortSignal.timeout(60_000) })) {
    if (event.type === 'delta') answer += event.text;
  }
  return answer;
}
