import { z } from 'zod';
import { needInteger } from '../scores/checks.js';
import { Deadline } from './deadline.js';
import { badResponse, HttpClient, type HttpOptions } from './http-client.js';
import type { LanguageModel, ScoreOptions, TokenScore } from './language-model.js';
import { LogProb, largest, parseAnswer } from './parse-answer.js';
import { maxTokensOf, prepareText } from './prepare-text.js';

/** Options of {@link vllmModel}. */
export interface VllmOptions extends HttpOptions {
  /** Name that the server knows the model by. */
  readonly model: string;
  /** Type that the server runs the model in; thresholds are bound to it. */
  readonly dtype: string;
  /** Log-probabilities per token besides the token's own, 0 to 20 (the server's `--max-logprobs`). Default 0. */
  readonly topK?: number;
  /** Let the tokenizer add its start token. Default true. */
  readonly addSpecialTokens?: boolean;
}

const Tokenized = z.looseObject({ tokens: z.array(z.int().min(0)).max(1 << 22) });
const Entry = z.looseObject({
  logprob: LogProb,
  rank: z.int().min(1).nullish(),
  decoded_token: z.string().nullish(),
});
const Completion = z.looseObject({
  choices: z
    .array(
      z.looseObject({
        prompt_logprobs: z.array(z.record(z.string(), Entry).nullable()).max(1 << 22),
      }),
    )
    .min(1),
});

/**
 * A model behind a vLLM server: `/tokenize`, then `/v1/completions` with `prompt_logprobs`. Ranks are those of the whole vocabulary,
 * so that likelihood, rank, log-rank, LRR and GLTR's buckets are exact with any `topK`.
 *
 * @example
 * ```ts
 * import { vllmModel } from '@moestack/detect/vllm';
 *
 * const model = vllmModel({ baseUrl: 'http://127.0.0.1:8000', model: 'Qwen/Qwen3-8B', dtype: 'bf16' });
 * console.log(model.capability);
 * ```
 */
export function vllmModel(options: VllmOptions): LanguageModel {
  const { model, dtype, topK = 0, addSpecialTokens = true } = options;
  needInteger('topK', topK, 0, 1000);
  const client = new HttpClient(options);
  return {
    identity: { name: model, dtype },
    capability:
      topK === 0 ? { distribution: 'tokenOnly', rank: true } : { distribution: 'topK', topK, rank: true },
    async *score(text: string, scoreOptions: ScoreOptions = {}): AsyncGenerator<TokenScore> {
      const maxTokens = maxTokensOf(scoreOptions);
      const deadline = new Deadline(`scoring by ${model}`, scoreOptions);
      const prompt = prepareText(text, maxTokens);
      const tokenized = await client.post(
        '/tokenize',
        { model, prompt, add_special_tokens: addSpecialTokens },
        deadline,
      );
      const ids = parseAnswer(Tokenized, tokenized, '/tokenize').tokens.slice(0, maxTokens);
      if (ids.length === 0) return;
      const answer = await client.post(
        '/v1/completions',
        { model, prompt: ids, max_tokens: 1, temperature: 0, stream: false, prompt_logprobs: topK },
        deadline,
      );
      yield* vllmTokens(ids, answer, topK);
    },
    close: async () => {},
  };
}

/** Token scores from the answer of `/v1/completions`; exported for tests of hostile answers. */
export function vllmTokens(ids: readonly number[], answer: unknown, topK: number): TokenScore[] {
  const source = '/v1/completions';
  const positions = parseAnswer(Completion, answer, source).choices[0]!.prompt_logprobs;
  if (positions.length !== ids.length)
    throw badResponse(source, `${ids.length} entries of prompt_logprobs`, String(positions.length));
  return ids.map((tokenId, i) => {
    const nextTokenId = ids[i + 1] ?? -1;
    const entries = positions[i]!;
    if (entries === null) {
      if (i > 0) throw badResponse(source, 'null for the first token only', `null at position ${i}`);
      return { tokenId, nextTokenId };
    }
    const own = Object.hasOwn(entries, String(tokenId)) ? entries[String(tokenId)] : undefined;
    if (own === undefined || own.rank === null || own.rank === undefined)
      throw badResponse(source, `logprob and rank of token ${tokenId} at position ${i}`, 'none');
    // The token itself comes on top of the K best when it is not one of them.
    const top = Object.values(entries).filter(
      ({ rank }) => rank === null || rank === undefined || rank <= topK,
    );
    return {
      tokenId,
      nextTokenId,
      logProb: own.logprob,
      rank: own.rank,
      ...(typeof own.decoded_token === 'string' && { text: own.decoded_token }),
      ...(topK > 0 && {
        topLogProbs: largest(
          top.map(({ logprob }) => logprob),
          topK,
        ),
      }),
    };
  });
}
