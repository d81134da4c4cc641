import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadTokenizer, openRuntime } from '@moestack/model';
import { createTraceRecorder } from '@moestack/routing';
import { encodeRoutingTrace } from '@moestack/routing/trace';
import { tinyMoe } from '@moestack/tiny-moe';
import { writeText } from '../files.js';

const text = `We hold these truths to be self-evident, that all men are created equal, that they are endowed by their Creator with
certain unalienable Rights, that among these are Life, Liberty and the pursuit of Happiness.`;

const directory = fileURLToPath(tinyMoe);
const config = JSON.parse(readFileSync(`${directory}/config.json`, 'utf8'));
const [experts, topK] = [config.n_routed_experts, config.num_experts_per_tok];
const layers = config.num_hidden_layers - config.first_k_dense_replace;
const tokens = (await loadTokenizer(directory)).encode(text).slice(0, 128);

// One token a step: then the counts of a gate are the selection of that token.
const selections = Array.from({ length: layers }, () => new Int32Array(tokens.length * topK));
let position = 0;
const blockSizeTokens = 16;
const blocks = Math.ceil(tokens.length / blockSizeTokens);
const runtime = await openRuntime(directory, {
  blocks,
  blockSizeTokens,
  maxBatchTokens: 1,
  maxSequences: 1,
  onExpertLoad(layer, counts) {
    let slot = position * topK;
    for (let expert = 0; expert < experts; expert++)
      if (counts[expert] > 0) selections[layer][slot++] = expert;
  },
});
for (; position < tokens.length; position++) {
  runtime.forward({
    sequences: 1,
    tokens: Int32Array.of(tokens[position]),
    tokenOffsets: Int32Array.of(0, 1),
    contextStarts: Int32Array.of(position),
    blockTables: Int32Array.from({ length: blocks }, (_, block) => block),
    blockTableStride: blocks,
  });
}
await runtime.close();

const recorder = createTraceRecorder({ experts, topK, model: 'tiny-moe' });
for (const [layer, indices] of selections.entries())
  recorder.record({ step: 0, layer, tokens: tokens.length }, { indices });
writeText('trace.json', (await encodeRoutingTrace(recorder.trace())).json);
console.log(`${tokens.length} tokens chose ${topK} of ${experts} experts in each of ${layers} layers`);
