import { readFixtureJson } from '@moestack/fixtures';
import { ExpertCost } from '../../src/cost/expert-cost.js';
import {
  accelerators,
  deepSeekV3,
  type ExpertSkew,
  publishedDeployment,
  type StepCostModel,
} from '../../src/index.js';
import { type Change, stepModel } from './step-model.js';
import { chunkPairSeconds, trainingHours } from './training-hours.js';

/** A published figure beside what layout and kernel tables say. */
export interface Prediction {
  readonly what: string;
  readonly unit: string;
  readonly published: number;
  readonly predicted: number;
  /** Whether the report promises 20 %. */
  readonly bar: boolean;
  readonly note: string;
}

interface Figure {
  readonly id: string;
  readonly value: number;
}

const figures = new Map(
  readFixtureJson<{ figures: Figure[] }>('simulator/calibration.json').figures.map(({ id, value }) => [
    id,
    value,
  ]),
);

/** A published figure of the fixtures. */
export function figure(id: string): number {
  const value = figures.get(id);
  if (typeof value !== 'number') throw new Error(`no such figure: ${id}`);
  return value;
}

const { h100, h800 } = accelerators;

/** Tokens a second and node of a prefill step of 16,384 tokens on each GPU. */
function prefillRate(model: StepCostModel, tokens: number, prompt: number): number {
  return (8 * tokens) / model.prefillSeconds(tokens, 0, tokens / prompt);
}

function decodeRate(model: StepCostModel, sequences: number, context: number): number {
  return (8 * sequences * model.tokensPerStep) / model.decodeSeconds(sequences, sequences * context);
}

/** Expected maximum of n standard normal values (Blom). */
export function expectedMaximum(n: number): number {
  const p = (n - 0.375) / (n + 0.25);
  // Acklam's tail of the inverse normal distribution is accurate enough for 0.9 < p < 1.
  const q = Math.sqrt(-2 * Math.log(1 - p));
  return (
    q -
    (2.515517 + 0.802853 * q + 0.010328 * q * q) / (1 + 1.432788 * q + 0.189269 * q * q + 0.001308 * q ** 3)
  );
}

/**
 * Output rate of a node of the online decode unit: as many requests as keep 21 tokens/s for each user. Experts are balanced, as everywhere above; contexts
 * differ by `deviation` of their mean, so that the busiest of 144 ranks attends to more than the others, and all wait for it.
 */
export function onlineDecode(
  deviation = 1,
  skew: ExpertSkew = { kind: 'balanced' },
): { rate: number; sequences: number; busiest: number } {
  const seconds = 1 / 21;
  const context = figure('online.mean_kv_len_per_output_token');
  const model = stepModel(h800, 'online', 'decode', { skew });
  const ranks = publishedDeployment('online').decode.dp;
  const busiest = (sequences: number): number =>
    1 + (deviation * expectedMaximum(ranks)) / Math.sqrt(sequences);
  let low = 1;
  let high = 512;
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (model.decodeSeconds(middle, middle * context * busiest(middle)) <= seconds) low = middle;
    else high = middle;
  }
  return { rate: (8 * low) / seconds, sequences: low, busiest: busiest(low) };
}

/** Mean prompt of the online service: 608 / 168 times the mean output, with a mean context of 4,989 tokens for an output token. */
export const ONLINE_PROMPT = Math.round(4989 / (1 + (0.5 * 168) / 608));

/** Input rate, cache hits included, of a node of the online prefill unit that is always full: an upper bound. */
export function onlinePrefillCapacity(): number {
  const hits = figure('online.input_cache_hit_fraction');
  const model = stepModel(h800, 'online', 'prefill');
  const prompt = ONLINE_PROMPT;
  const tokens = 16_384;
  const sequences = tokens / (prompt * (1 - hits));
  const seconds = model.prefillSeconds(tokens, sequences * prompt * hits, sequences);
  return (8 * tokens) / seconds / (1 - hits);
}

/** Slowdown of the expert kernels of decode with one expert a GPU as SMs are taken away. */
export function smSweep(): { sms: number; slowdown: number }[] {
  const { decode, mtp, precision } = publishedDeployment('report');
  const cost = new ExpertCost({
    accelerator: h800,
    model: deepSeekV3,
    pool: { ...decode, tp: 1, dp: 320 },
    role: 'decode',
    precision,
    mtp,
    imbalance: 1,
  });
  // 256 tokens reach each expert, the most that the report allows.
  const tokens = (256 * 320) / deepSeekV3.topK;
  const whole = cost.seconds(tokens, h800.sms);
  return [132, 120, 108, 96, 80, 64, 48, 32].map((sms) => ({
    sms,
    slowdown: cost.seconds(tokens, sms) / whole,
  }));
}

/** Gain of two micro-batches over one, by tokens of a GPU. */
export function overlapGains(): { phase: 'prefill' | 'decode'; tokens: number; gain: number }[] {
  const off = { overlap: { enabled: false, communicationSms: 0 } };
  const gain = (phase: 'prefill' | 'decode', tokens: number): number => {
    const layout: Change = phase === 'decode' ? { decode: { dp: 72, ep: 72, redundantExperts: 32 } } : {};
    const one: Change = phase === 'decode' ? { decode: { ...layout.decode, ...off } } : { prefill: off };
    const both = stepModel(h100, 'profile', phase, layout);
    const single = stepModel(h100, 'profile', phase, one);
    const seconds = (model: StepCostModel): number =>
      phase === 'decode'
        ? model.decodeSeconds(tokens, tokens * 2000)
        : model.prefillSeconds(tokens, 0, Math.max(1, tokens / 4096));
    return seconds(single) / seconds(both) - 1;
  };
  return [
    ...[4096, 8192, 16_384].map((tokens) => ({
      phase: 'prefill' as const,
      tokens,
      gain: gain('prefill', tokens),
    })),
    ...[16, 32, 64, 128, 256].map((tokens) => ({
      phase: 'decode' as const,
      tokens,
      gain: gain('decode', tokens),
    })),
  ];
}

/** Published end-to-end figures and their predictions. */
export function predictions(): Prediction[] {
  const profilePrefill = stepModel(h800, 'profile', 'prefill');
  const profileDecode = stepModel(h800, 'profile', 'decode');
  const sglangPrefill = stepModel(h100, 'profile', 'prefill');
  const ep72: Change = { decode: { dp: 72, ep: 72, redundantExperts: 32 } };
  const sglangDecode = stepModel(h100, 'profile', 'decode', ep72);
  const online = onlineDecode();
  const row = (
    what: string,
    unit: string,
    published: number,
    predicted: number,
    bar: boolean,
    note: string,
  ): Prediction => ({
    what,
    unit,
    published,
    predicted,
    bar,
    note,
  });
  return [
    row(
      'prefill step, EP32, 16,384 tokens on each GPU',
      's',
      figure('derived.profile_prefill_step_s'),
      profilePrefill.prefillSeconds(16_384, 0, 4),
      true,
      'H800, balanced routing, 108 + 24 SMs',
    ),
    row(
      'decode step, EP128, 128 requests of 4K on each GPU',
      'ms',
      figure('derived.profile_decode_step_ms'),
      1e3 * profileDecode.decodeSeconds(128, 128 * 4096),
      true,
      'H800, balanced routing',
    ),
    row(
      'online output, EP144',
      'tokens/s/node',
      figure('online.decode_out_tok_s_per_node'),
      online.rate,
      true,
      `most requests that keep 21 tokens/s a user: ${online.sequences.toFixed(0)} a GPU; busiest rank ${online.busiest.toFixed(2)} x mean context`,
    ),
    row(
      'online input with cache hits, EP32',
      'tokens/s/node',
      figure('online.prefill_in_tok_s_per_node_incl_hits'),
      onlinePrefillCapacity(),
      true,
      'capacity of a unit that is always full, an upper bound on the daily mean',
    ),
    row(
      'training, forward and backward of 4 layers, EP64, 4,096 tokens on each GPU',
      'ms',
      figure('derived.profile_train_chunk_pair_ms'),
      1e3 * chunkPairSeconds(),
      true,
      'H800, balanced routing, 112 + 20 SMs',
    ),
    row(
      'training, H800 hours for 1e12 tokens',
      'K hours',
      180,
      trainingHours().hours / 1e3,
      true,
      '16 stages of such layers, see causes',
    ),
    row(
      'SGLang prefill, 4K prompts, perfect balance',
      'tokens/s/node',
      figure('tput.sglang_prefill_4k_perfect_eplb'),
      prefillRate(sglangPrefill, 16_384, 4096),
      false,
      'H100, EP32',
    ),
    row(
      'SGLang prefill, 1K prompts',
      'tokens/s/node',
      figure('tput.sglang_prefill_1k'),
      prefillRate(sglangPrefill, 16_384, 1024),
      false,
      'H100, EP32; measured with real imbalance',
    ),
    row(
      'SGLang decode, 256 requests of 2K on each GPU',
      'tokens/s/node',
      figure('tput.sglang_decode_2k'),
      decodeRate(sglangDecode, 256, 2000),
      false,
      'H100, EP72',
    ),
    row(
      'SGLang decode, 128 requests of 4K, simulated MTP',
      'tokens/s/node',
      figure('tput.sglang_decode_4k_sim_mtp'),
      decodeRate(sglangDecode, 128, 4000),
      false,
      'H100, EP72; their simulation of MTP has no counterpart here',
    ),
  ];
}
