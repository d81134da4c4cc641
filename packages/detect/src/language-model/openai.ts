import { z } from 'zod';
import { needInteger } from '../scores/checks.js';
import { Deadline } from './deadline.js';
import { badResponse, HttpClient, type HttpOptions } from './http-client.js';
import type { LanguageModel, ScoreOptions, TokenScore } from './language-model.js';
import { LogProb, largest, parseAnswer } from './parse-answer.js';
import { maxTokensOf, prepareText } from './prepare-text.js';

/** Options of {@link openAiModel}. */
export interface OpenAiOptions extends HttpOptions {
  readonly model: string;
  /** Type that the server runs the model in, or a version date where it does not say; thresholds are bound to it. */
  readonly dtype: string;
  /** `logprobs` of the request: most probable tokens per place, 0 to 20 (5 at OpenAI). Default 0. */
  readonly topK?: number;
  /** New tokens to ask for: 0 (default) where the server allows it, else 1, which are cut off again. */
  readonly newTokens?: 0 | 1;
  /** Characters that a prompt of `maxTokens` tokens may have: such servers have no tokenizer to ask. Default 4 per token. */
  readonly charactersPerToken?: number;
}

const numbers = z.array(LogProb.nullable()).max(1 << 22);
const Completion = z.looseObject({
  choices: z
    .array(
      z.looseObject({
        logprobs: z.looseObject({
          tokens: z.array(z.string()).max(1 << 22),
          token_logprobs: numbers,
          top_logprobs: z
            .array(z.record(z.string(), LogProb).nullable())
            .max(1 << 22)
            .nullish(),
          text_offset: z.array(z.int().min(0)).max(1 << 22),
        }),
      }),
    )
    .min(1),
});

/**
 * A model behind the legacy completions API with `echo: true` and `logprobs` (`baseUrl` includes the version, such as
 * `https://api.openai.com/v1`). Tokens come as texts without ids, and no ranks are given. Chat endpoints do not score prompts.
 *
 * @example
 * ```ts
 * import { openAiModel } from '@moestack/detect/openai';
 *
 * const model = openAiModel({ baseUrl: 'http://127.0.0.1:8000/v1', model: 'davinci-002', dtype: '2024', topK: 5 });
 * console.log(model.capability);
 * ```
 */
export function openAiModel(options: OpenAiOptions): LanguageModel {
  const { model, dtype, topK = 0, newTokens = 0, charactersPerToken = 4 } = options;
  needInteger('topK', topK, 0, 100);
  needInteger('newTokens', newTokens, 0, 1);
  needInteger('charactersPerToken', charactersPerToken, 1, 64);
  const client = new HttpClient(options);
  return {
    identity: { name: model, dtype },
    capability:
      topK === 0 ? { distribution: 'tokenOnly', rank: false } : { distribution: 'topK', topK, rank: false },
    async *score(text: string, scoreOptions: ScoreOptions = {}): AsyncGenerator<TokenScore> {
      const maxTokens = maxTokensOf(scoreOptions);
      const deadline = new Deadline(`scoring by ${model}`, scoreOptions);
      const prompt = prepareText(text, Math.ceil((maxTokens * charactersPerToken) / 64));
      if (prompt === '') return;
      const body = {
        model,
        prompt,
        max_tokens: newTokens,
        temperature: 1,
        echo: true,
        logprobs: topK,
        stream: false,
      };
      const answer = await client.post('/completions', body, deadline);
      yield* openAiTokens(prompt, answer, topK, maxTokens);
    },
    close: async () => {},
  };
}

/** Token scores from the answer of `/completions`; exported for tests of hostile answers. */
export function openAiTokens(prompt: string, answer: unknown, topK: number, maxTokens: number): TokenScore[] {
  const source = '/completions';
  const { tokens, token_logprobs, top_logprobs, text_offset } = parseAnswer(Completion, answer, source)
    .choices[0]!.logprobs;
  for (const [name, array] of [
    ['token_logprobs', token_logprobs],
    ['text_offset', text_offset],
    ...(topK > 0 ? ([['top_logprobs', top_logprobs ?? []]] as const) : []),
  ] as const) {
    if (array.length !== tokens.length)
      throw badResponse(source, `${tokens.length} entries of ${name}`, String(array.length));
  }
  // Offsets count characters of the echoed text: what starts at its end was generated.
  const length = [...prompt].length;
  let count = 0;
  while (count < tokens.length && count < maxTokens && text_offset[count]! < length) count++;
  return tokens.slice(0, count).map((text, i) => {
    const token = { tokenId: -1, nextTokenId: -1, text };
    const logProb = token_logprobs[i]!;
    if (logProb === null) {
      if (i > 0) throw badResponse(source, 'null for the first token only', `null at position ${i}`);
      return token;
    }
    if (i === 0) return token;
    if (topK === 0) return { ...token, logProb };
    const best = Object.values(top_logprobs![i] ?? {});
    if (best.length === 0) throw badResponse(source, `top_logprobs at position ${i}`, 'none');
    return { ...token, logProb, topLogProbs: largest(best, topK) };
  });
}
