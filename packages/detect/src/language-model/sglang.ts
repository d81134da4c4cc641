import { z } from 'zod';
import { needInteger } from '../scores/checks.js';
import { Deadline } from './deadline.js';
import { badResponse, HttpClient, type HttpOptions } from './http-client.js';
import type { LanguageModel, ScoreOptions, TokenScore } from './language-model.js';
import { LogProb, largest, parseAnswer } from './parse-answer.js';
import { maxTokensOf, prepareText } from './prepare-text.js';

/** Options of {@link sglangModel}. */
export interface SglangOptions extends HttpOptions {
  /** Name of the model; the server runs one, so that this only names it in thresholds. */
  readonly model: string;
  /** Type that the server runs the model in; thresholds are bound to it. */
  readonly dtype: string;
  /** Log-probabilities of the most probable tokens. Default 0. */
  readonly topK?: number;
}

const Token = z.tuple([LogProb.nullable(), z.int().min(0)]).rest(z.unknown());
const Answer = z.looseObject({
  meta_info: z.looseObject({
    input_token_logprobs: z.array(Token).max(1 << 22),
    input_top_logprobs: z
      .array(z.array(Token).nullable())
      .max(1 << 22)
      .nullish(),
  }),
});

/**
 * A model behind an SGLang server: `/generate` with `return_logprob` from the first token on. SGLang gives no ranks: within the
 * top K the rank is the place there, beyond it unknown, so that rank-based detectors are refused.
 *
 * @example
 * ```ts
 * import { sglangModel } from '@moestack/detect/sglang';
 *
 * const model = sglangModel({ baseUrl: 'http://127.0.0.1:30000', model: 'Qwen/Qwen3-8B', dtype: 'bf16', topK: 5 });
 * console.log(model.capability);
 * ```
 */
export function sglangModel(options: SglangOptions): LanguageModel {
  const { model, dtype, topK = 0 } = options;
  needInteger('topK', topK, 0, 10_000);
  const client = new HttpClient(options);
  return {
    identity: { name: model, dtype },
    capability:
      topK === 0 ? { distribution: 'tokenOnly', rank: false } : { distribution: 'topK', topK, rank: false },
    async *score(text: string, scoreOptions: ScoreOptions = {}): AsyncGenerator<TokenScore> {
      const maxTokens = maxTokensOf(scoreOptions);
      const deadline = new Deadline(`scoring by ${model}`, scoreOptions);
      const body = {
        text: prepareText(text, maxTokens),
        sampling_params: { max_new_tokens: 1, temperature: 0 },
        return_logprob: true,
        logprob_start_len: 0,
        ...(topK > 0 && { top_logprobs_num: topK }),
        stream: false,
      };
      if (body.text === '') return;
      yield* sglangTokens(await client.post('/generate', body, deadline), topK, maxTokens);
    },
    close: async () => {},
  };
}

/** Token scores from the answer of `/generate`; exported for tests of hostile answers. */
export function sglangTokens(answer: unknown, topK: number, maxTokens: number): TokenScore[] {
  const source = '/generate';
  const { input_token_logprobs: own, input_top_logprobs: top } = parseAnswer(
    Answer,
    answer,
    source,
  ).meta_info;
  if (topK > 0 && top?.length !== own.length)
    throw badResponse(source, `${own.length} entries of input_top_logprobs`, String(top?.length));
  return own.slice(0, maxTokens).map(([logProb, tokenId, text], i) => {
    const next = i + 1 < maxTokens ? own[i + 1]?.[1] : undefined;
    const token = {
      tokenId,
      nextTokenId: next ?? -1,
      ...(typeof text === 'string' && { text }),
    };
    if (logProb === null) {
      if (i > 0) throw badResponse(source, 'null for the first token only', `null at position ${i}`);
      return token;
    }
    // Older servers give the first token a number that no context predicts.
    if (i === 0) return token;
    if (topK === 0) return { ...token, logProb };
    const logProbs = (top![i] ?? []).map(([value]) => value).filter((value) => value !== null);
    if (logProbs.length < topK)
      throw badResponse(source, `${topK} top log-probabilities at position ${i}`, String(logProbs.length));
    return { ...token, logProb, topLogProbs: largest(logProbs, topK) };
  });
}
