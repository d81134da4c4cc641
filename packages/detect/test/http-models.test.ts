import { glimpse, measureText, scoreMeasured, scoreText } from '@moestack/detect';
import { openAiModel } from '@moestack/detect/openai';
import { sglangModel } from '@moestack/detect/sglang';
import { vllmModel } from '@moestack/detect/vllm';
import { afterEach, describe, expect, it } from 'vitest';
import { type Answer, codeOf, type SeenRequest, standIn } from './stand-in.js';

// A vocabulary of five words with one fixed distribution: what the servers below compute their answers from.
const words = ['the', ' cat', ' sat', ' on', ' mat'];
const text = 'the cat sat on mat mat';
const ids = [0, 1, 2, 3, 4, 4];
const logProbs = [0.4, 0.3, 0.15, 0.1, 0.05].map(Math.log);
const expectedMean = (logProbs[1]! + logProbs[2]! + logProbs[3]! + 2 * logProbs[4]!) / 5;

const servers: { close(): Promise<void> }[] = [];
async function serve(answer: (request: SeenRequest) => Answer): ReturnType<typeof standIn> {
  const server = await standIn(answer);
  servers.push(server);
  return server;
}
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const error = (message: string, status = 400): Answer => ({
  json: { error: { message, type: 'BadRequestError', code: status } },
  status,
});

/** vLLM: integer-like keys, the token itself beside the K best, -Infinity sent as -9999, first entry null. */
function vllm({ path, body }: SeenRequest): Answer {
  if (body['model'] !== 'm') return error('The model does not exist', 404);
  if (path === '/tokenize') {
    if (typeof body['prompt'] !== 'string' || body['add_special_tokens'] !== true) return error('bad prompt');
    return { json: { count: ids.length, max_model_len: 100, tokens: ids, token_strs: null } };
  }
  if (path !== '/v1/completions') return error('Not Found', 404);
  const prompt = body['prompt'] as number[];
  const k = body['prompt_logprobs'] as number;
  if (body['max_tokens'] !== 1 || k > 20 || body['stream'] !== false) return error('bad request');
  const entry = (id: number): Record<string, unknown> => ({
    logprob: id === 4 && k === 3 ? -9999 : logProbs[id],
    rank: id + 1,
    decoded_token: words[id],
  });
  const positions = prompt.map((id, i) => {
    if (i === 0) return null;
    const shown = new Set([id, ...logProbs.keys()].slice(0, k + 1));
    return Object.fromEntries([...shown].map((other) => [String(other), entry(other)]));
  });
  return {
    json: {
      id: 'cmpl-1',
      object: 'text_completion',
      created: 1,
      model: 'm',
      choices: [
        {
          index: 0,
          text: ' the',
          logprobs: null,
          finish_reason: 'length',
          stop_reason: null,
          prompt_logprobs: positions,
        },
      ],
      usage: { prompt_tokens: prompt.length, total_tokens: prompt.length + 1, completion_tokens: 1 },
    },
  };
}

/** SGLang: triples of log-probability, id and text; the first without a log-probability. */
function sglang({ path, body }: SeenRequest): Answer {
  if (path !== '/generate' || body['return_logprob'] !== true || body['logprob_start_len'] !== 0)
    return error('bad request');
  const k = (body['top_logprobs_num'] as number | undefined) ?? 0;
  return {
    json: {
      text: ' the',
      output_ids: [0],
      meta_info: {
        id: 'x',
        finish_reason: { type: 'length', length: 1 },
        prompt_tokens: ids.length,
        completion_tokens: 1,
        input_token_logprobs: ids.map((id, i) => [i === 0 ? null : logProbs[id], id, null]),
        output_token_logprobs: [[logProbs[0], 0, null]],
        ...(k > 0 && {
          input_top_logprobs: ids.map((_, i) =>
            i === 0 ? null : logProbs.slice(0, k).map((logProb, id) => [logProb, id, null]),
          ),
        }),
      },
    },
  };
}

/** Legacy completions with echo: texts and offsets, generated tokens at the end. */
function openAi({ path, body }: SeenRequest): Answer {
  if (path !== '/v1/completions' || body['echo'] !== true || body['prompt'] !== text)
    return error('bad request');
  const k = body['logprobs'] as number;
  const shown = [...ids, ...(body['max_tokens'] === 1 ? [0] : [])].map((id) => words[id]!);
  let offset = 0;
  const offsets = shown.map((word) => {
    offset += word.length;
    return offset - word.length;
  });
  const top = Object.fromEntries(words.slice(0, k).map((word, id) => [word, logProbs[id]]));
  return {
    json: {
      id: 'cmpl-1',
      object: 'text_completion',
      created: 1,
      model: 'm',
      choices: [
        {
          text: shown.join(''),
          index: 0,
          finish_reason: 'length',
          logprobs: {
            tokens: shown,
            token_logprobs: [...ids, 0]
              .slice(0, shown.length)
              .map((id, i) => (i === 0 ? null : logProbs[id])),
            top_logprobs: k === 0 ? null : shown.map((_, i) => (i === 0 ? null : top)),
            text_offset: offsets,
          },
        },
      ],
      usage: { prompt_tokens: ids.length, total_tokens: ids.length },
    },
  };
}

describe('vllmModel', () => {
  it('scores by ranks of the whole vocabulary', async () => {
    const { baseUrl, seen } = await serve(vllm);
    const performer = vllmModel({ baseUrl: `${baseUrl}/`, model: 'm', dtype: 'bf16', apiKey: 'secret' });
    const measured = await measureText(text, { performer });
    expect(scoreMeasured('logLikelihood', measured).value).toBeCloseTo(expectedMean, 12);
    expect(scoreMeasured('rank', measured).value).toBeCloseTo((2 + 3 + 4 + 5 + 5) / 5, 12);
    expect(measured.tokens.map((token) => token.text)).toEqual([
      undefined,
      ...ids.slice(1).map((id) => words[id]),
    ]);
    expect(seen.map(({ path }) => path)).toEqual(['/tokenize', '/v1/completions']);
    expect(seen[1]!.headers.authorization).toBe('Bearer secret');
    await expect(codeOf(scoreText('binoculars', text, { performer, observer: performer }))).resolves.toBe(
      'detect/capability',
    );
  });

  it('keeps the K best apart from the token, and serves Glimpse', async () => {
    const { baseUrl } = await serve(vllm);
    const performer = vllmModel({ baseUrl, model: 'm', dtype: 'bf16', topK: 2 });
    const { topK } = await measureText(text, { performer });
    expect(topK.map(({ topLogProbs }) => topLogProbs)).toEqual(ids.slice(1).map(() => logProbs.slice(0, 2)));
    const estimate = glimpse(topK, { vocabulary: 5, rankSize: 5 });
    const entropy = -logProbs.reduce((sum, log) => sum + Math.exp(log) * log, 0);
    expect(estimate.entropyLower).toBeLessThan(entropy);
    expect(estimate.entropyUpper).toBeGreaterThan(entropy);
  });

  it('cuts to maxTokens before asking', async () => {
    const { baseUrl, seen } = await serve(vllm);
    const performer = vllmModel({ baseUrl, model: 'm', dtype: 'bf16' });
    const { tokens } = await scoreText('lrr', text, { performer, maxTokens: 3 });
    expect(tokens).toBe(2);
    expect(seen[1]!.body['prompt']).toEqual([0, 1, 2]);
  });
});

describe('sglangModel', () => {
  it('scores likelihoods and refuses ranks', async () => {
    const { baseUrl } = await serve(sglang);
    for (const topK of [0, 3]) {
      const performer = sglangModel({ baseUrl, model: 'm', dtype: 'bf16', topK });
      const measured = await measureText(text, { performer });
      expect(scoreMeasured('logLikelihood', measured).value).toBeCloseTo(expectedMean, 12);
      expect(measured.topK.length).toBe(topK === 0 ? 0 : 5);
      expect(measured.tokens.map(({ id }) => id)).toEqual(ids);
      expect(await codeOf(scoreText('rank', text, { performer }))).toBe('detect/capability');
    }
  });
});

describe('openAiModel', () => {
  it.each([0, 1] as const)('scores an echo with %i new tokens', async (newTokens) => {
    const { baseUrl } = await serve(openAi);
    for (const topK of [0, 2]) {
      const performer = openAiModel({ baseUrl: `${baseUrl}/v1`, model: 'm', dtype: '2024', topK, newTokens });
      const measured = await measureText(text, { performer });
      expect(scoreMeasured('logLikelihood', measured).value).toBeCloseTo(expectedMean, 12);
      expect(measured.tokens.map((token) => token.text).join('')).toBe(text);
      expect(measured.topK.length).toBe(topK === 0 ? 0 : 5);
    }
  });
});

describe('a server that fails', () => {
  const scored = (baseUrl: string, options: object = {}): Promise<unknown> =>
    scoreText('logLikelihood', text, {
      performer: sglangModel({ baseUrl, model: 'm', dtype: 'bf16', maximumBytes: 4096 }),
      ...options,
    });

  it('with a status is a typed error that says whether to retry', async () => {
    for (const [status, isRetryable] of [
      [400, false],
      [404, false],
      [429, true],
      [503, true],
    ] as const) {
      const { baseUrl } = await serve(() => error('no', status));
      await expect(scored(baseUrl)).rejects.toMatchObject({ code: 'detect/http', status, isRetryable });
    }
  });

  it('with garbage, too much, a broken connection or silence never hangs', async () => {
    const garbage = await serve(() => (response) => void response.end('{"meta_info": '));
    expect(await codeOf(scored(garbage.baseUrl))).toBe('detect/bad-response');
    const flood = await serve(() => (response) => void response.end(`"${'x'.repeat(100_000)}"`));
    expect(await codeOf(scored(flood.baseUrl))).toBe('detect/too-large');
    const broken = await serve(() => (response) => void response.destroy());
    expect(await codeOf(scored(broken.baseUrl))).toBe('detect/http');
    const redirect = await serve(
      () => (response) => void response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
    );
    expect(await codeOf(scored(redirect.baseUrl))).toBe('detect/http');
    const silent = await serve(() => () => {});
    expect(await codeOf(scored(silent.baseUrl, { timeoutSeconds: 0.05 }))).toBe('timeout');
    const trickle = await serve(() => (response) => void response.write('{'));
    expect(await codeOf(scored(trickle.baseUrl, { timeoutSeconds: 0.05 }))).toBe('timeout');
  });

  it('stops when the caller aborts', async () => {
    const controller = new AbortController();
    const silent = await serve(() => () => controller.abort(new Error('enough')));
    await expect(scored(silent.baseUrl, { signal: controller.signal })).rejects.toThrow('enough');
  });

  it('refuses addresses that are none', () => {
    for (const baseUrl of ['nonsense', 'file:///etc/passwd', ''])
      expect(() => sglangModel({ baseUrl, model: 'm', dtype: 'x' })).toThrow('baseUrl');
  });
});
