import { type Below, type FuzzResult, fuzzed } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import type { TokenScore } from '../src/language-model/language-model.js';
import { openAiTokens } from '../src/language-model/openai.js';
import { checkRecording } from '../src/language-model/replay.js';
import { sglangTokens } from '../src/language-model/sglang.js';
import { parseThreshold } from '../src/language-model/threshold.js';
import { vllmTokens } from '../src/language-model/vllm.js';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const HOSTILE: readonly (() => Json)[] = [
  () => null,
  () => true,
  () => -1,
  () => 0.5,
  () => 1e308,
  () => 4294967296,
  () => -9999,
  () => Number.NaN,
  () => Number.NEGATIVE_INFINITY,
  () => '',
  () => '__proto__',
  () => '\ud800',
  () => [],
  () => ({}),
  () => [[null, 1, null]],
  () => ({ '7': { logprob: -1, rank: 1 } }),
  () => Array.from({ length: 300 }, (_, i) => i),
  () => JSON.parse('{"__proto__": {"logprob": -1, "rank": 1}, "constructor": 1}') as Json,
];

const ids = [5, 7, 9];
const vllm = (): Json => ({
  choices: [
    {
      prompt_logprobs: [
        null,
        { '7': { logprob: -1.5, rank: 3, decoded_token: 'a' }, '2': { logprob: -0.5, rank: 1 } },
        { '9': { logprob: -0.5, rank: 1, decoded_token: 'b' } },
      ],
    },
  ],
});
const sglang = (): Json => ({
  meta_info: {
    input_token_logprobs: [
      [null, 5, null],
      [-1.5, 7, 'a'],
      [-0.5, 9, null],
    ],
    input_top_logprobs: [null, [[-0.5, 2, null]], [[-0.5, 9, null]]],
  },
});
const openAi = (): Json => ({
  choices: [
    {
      logprobs: {
        tokens: ['ab', 'c', 'd'],
        token_logprobs: [null, -1.5, -0.5],
        top_logprobs: [null, { x: -0.5 }, { d: -0.5 }],
        text_offset: [0, 2, 3],
      },
    },
  ],
});
const recording = (): Json => ({
  schemaVersion: 1,
  identity: { name: 'x', dtype: 'f32', vocabulary: 9 },
  capability: { distribution: 'topK', topK: 1, rank: true },
  texts: [
    {
      text: 'ab',
      tokens: [{ tokenId: 1 }, { tokenId: 2, logProb: -1, rank: 1, topLogProbs: [-1], text: 'b' }],
    },
  ],
});
const threshold = (): Json => ({
  schemaVersion: 1,
  detector: 'lrr',
  threshold: 1.5,
  rule: 'f1',
  models: { performer: { name: 'p', dtype: 'f32' }, observer: { name: 'o', dtype: 'f32', vocabulary: 7 } },
  fittedOn: { dataset: 'd', humans: 5, ais: 5 },
});

const targets: readonly [valid: () => Json, parse: (json: Json) => void][] = [
  [vllm, (json) => checkTokens(vllmTokens(ids, json, 1))],
  [sglang, (json) => checkTokens(sglangTokens(json, 1, 512))],
  [openAi, (json) => checkTokens(openAiTokens('abcd', json, 1, 512))],
  [recording, (json) => void checkRecording(json)],
  [threshold, (json) => void parseThreshold(json)],
];

/** What is let through must be usable: numbers are numbers, ranks are ranks. */
function checkTokens(tokens: readonly TokenScore[]): void {
  tokens.forEach(({ tokenId, logProb, rank, topLogProbs = [] }, i) => {
    const logs = [...topLogProbs, ...(logProb === undefined ? [] : [logProb])];
    if (!Number.isInteger(tokenId) || logs.some((value) => !(value <= 1e-3)))
      throw new Error(`token ${i} is not usable: ${tokenId}, ${logs.join(' ')}`);
    if (i > 0 && logProb === undefined) throw new Error(`token ${i} has no log-probability`);
    if (rank !== undefined && !(rank >= 1)) throw new Error(`token ${i} has rank ${rank}`);
  });
}

/**
 * Mutates valid answers of servers, recordings and thresholds and feeds them to their parsers.
 *
 * @param seed - same seed, same inputs.
 * @throws Error naming seed and iteration when anything but a MoestackError comes out.
 */
export function fuzz(seed: number, iterations: number): Promise<FuzzResult> {
  return fuzzed(seed, iterations, MoestackError.isInstance, (below) => {
    const [valid, parse] = targets[below(targets.length)]!;
    let json = valid();
    for (let edits = 1 + below(2); edits > 0; edits--) json = mutate(json, below);
    parse(json);
  });
}

/** Walks down to a random node and replaces, drops or doubles it. */
function mutate(json: Json, below: Below): Json {
  if (typeof json !== 'object' || json === null || below(6) === 0) return HOSTILE[below(HOSTILE.length)]!();
  if (Array.isArray(json)) {
    const at = below(json.length + 1);
    if (at === json.length)
      return [...json, ...(below(2) === 0 ? json.slice(-1) : [HOSTILE[below(HOSTILE.length)]!()])];
    if (below(6) === 0) return json.filter((_, i) => i !== at);
    return json.map((value, i) => (i === at ? mutate(value, below) : value));
  }
  const keys = Object.keys(json);
  if (keys.length === 0) return HOSTILE[below(HOSTILE.length)]!();
  const key = keys[below(keys.length)]!;
  if (below(6) === 0) return Object.fromEntries(Object.entries(json).filter(([name]) => name !== key));
  return { ...json, [key]: mutate(json[key]!, below) };
}
