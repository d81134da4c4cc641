import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connectMpi } from '@moestack/collectives/mpi';
import { loadTokenizer, openRuntime } from '@moestack/model';
import { tinyMoe } from '@moestack/tiny-moe';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: fileURLToPath(tinyMoe) },
    tokens: { type: 'string', default: '32' },
    payload: { type: 'string', default: 'f32' },
    mode: { type: 'string', default: 'direct' },
  },
});
const subjects = ['people', 'King', 'ship', 'law', 'river', 'church', 'house', 'war'];
const maxTokens = Number(values.tokens);

const communicator = connectMpi({ timeoutSeconds: 60 });
const { rank, size } = communicator;
const tokenizer = await loadTokenizer(values.model);
const runtime = await openRuntime(values.model, {
  blocks: 16,
  maxBatchTokens: 64,
  maxSequences: 1,
  parallel: { communicator, payload: values.payload, mode: values.mode },
});

// Attention is data-parallel: each rank completes a prompt of its own, and its tokens visit the experts of all ranks.
const prompt = tokenizer.encode(`In those days the ${subjects[rank % subjects.length]}`);
const batch = {
  sequences: 1,
  tokens: new Int32Array(64),
  tokenOffsets: new Int32Array(2),
  contextStarts: new Int32Array(1),
  blockTables: Int32Array.from({ length: 16 }, (_, block) => block),
  blockTableStride: 16,
};
const text = [...prompt];
let next = prompt;
for (let step = 0; step < maxTokens; step++) {
  batch.tokens.set(next);
  batch.tokenOffsets[1] = next.length;
  batch.contextStarts[0] = text.length - next.length;
  const logits = runtime.forward(batch).subarray(0, runtime.limits.vocabulary);
  next = Int32Array.of(indexOfHighest(logits));
  text.push(next[0]);
}

const { dispatch, combine } = runtime.exchangeCounters;
const sent = [dispatch, combine].map(({ bytesSent }) => bytesSent.reduce((sum, bytes) => sum + bytes, 0));
const report = {
  rank,
  size,
  text: tokenizer.decode(Int32Array.from(text)),
  weightMegabytes: Number((runtime.weightBytes / 1e6).toFixed(2)),
  dispatchKilobytes: Math.round(sent[0] / 1000),
  combineKilobytes: Math.round(sent[1] / 1000),
};
// Gathered on rank 0, since lines of several processes may mix.
const reports = await communicator.gather(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
if (reports !== undefined) process.stdout.write(reports);
await runtime.close();
communicator.close();

function indexOfHighest(logits) {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
