import { badRequest } from '../errors.js';
import type { ForwardAnswer, ForwardOptions, ForwardRequest } from '../forward.js';
import { isErrorAnswer } from '../http/error-frame.js';
import { JsonObject, listElements } from '../json/json-object.js';
import { requestLimits } from '../openai/common-request.js';
import { mergeStreams } from './merge-streams.js';
import { mergeWhole } from './merge-whole.js';

const maxPartBytes = 64 * 1024 * 1024;

/**
 * The requests of one prompt and one choice each that a request is made of, choices of a prompt side by side; the request
 * itself when it is one already.
 *
 * @throws {@link ServingError} 400 for more than {@link requestLimits}.
 */
export function splitRequest(request: ForwardRequest): ForwardRequest[] {
  const { body } = request;
  const prompts = promptList(body);
  const n = choicesOf(body);
  if (prompts.length * n > requestLimits.maxChoices) {
    throw badRequest({
      param: 'n',
      message: `${prompts.length} prompts times n = ${n} make ${prompts.length * n} choices, at most ${requestLimits.maxChoices} are allowed`,
      remedy: 'send fewer prompts, or a smaller n',
      value: prompts.length * n,
    });
  }
  if (prompts.length * n === 1) return [request];
  const seed = /^-?\d+$/.exec(body.raw('seed') ?? '')?.[0];
  return prompts.flatMap((prompt, promptIndex) =>
    Array.from({ length: n }, (_, choice) => {
      const text = body.with({
        ...(prompt !== undefined && { prompt }),
        ...(body.has('n') && { n: '1' }),
        best_of: undefined,
        // As engines do it for the choices of one request; the sum may be beyond 2^53.
        ...(seed !== undefined && choice > 0 && { seed: String(BigInt(seed) + BigInt(choice)) }),
      });
      const requestId = `${request.requestId}-${promptIndex * n + choice}`;
      return { ...request, requestId, body: JsonObject.parse(text) };
    }),
  );
}

/** Prompts of a list of several, as they were written; `[undefined]` for everything else. */
function promptList(body: JsonObject): (string | undefined)[] {
  const prompts = isPromptList(body) ? listElements(body.raw('prompt')!) : [];
  return prompts.length < 2 ? [undefined] : prompts;
}

/** Whether the prompt is a list of prompts, be it of one; a list of token ids is one prompt. */
export function isPromptList(body: JsonObject): boolean {
  const prompt = body.get('prompt');
  return Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] !== 'number';
}

/** How many prompts a request has; token ids are one. */
export function countPrompts(body: JsonObject): number {
  return promptList(body).length;
}

/** How many items a request makes of its body: prompts times choices. */
export function countItems(body: JsonObject): number {
  return countPrompts(body) * choicesOf(body);
}

function choicesOf(body: JsonObject): number {
  const n = body.get('n') ?? 1;
  if (typeof n !== 'number' || !Number.isInteger(n) || n < 1 || n > requestLimits.maxChoices) {
    throw badRequest({
      param: 'n',
      message: `expected an integer from 1 to ${requestLimits.maxChoices} for n, got ${JSON.stringify(n)}`,
      remedy: 'leave n out, or send such a number',
      value: n,
    });
  }
  return n;
}

/**
 * Sends all parts and makes one answer of theirs. If one fails, the others are ended and its failure is the answer.
 */
export async function fanOut(
  request: ForwardRequest,
  parts: readonly ForwardRequest[],
  options: ForwardOptions,
  forward: (part: ForwardRequest, options: ForwardOptions) => Promise<ForwardAnswer>,
): Promise<ForwardAnswer> {
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  const answers = await Promise.allSettled(
    parts.map(async (part) => {
      try {
        const answer = await forward(part, { ...options, signal });
        if (answer.type === 'error') failure.abort(answer);
        return answer;
      } catch (error) {
        failure.abort(error);
        throw error;
      }
    }),
  );
  const bodies = answers.flatMap((one) =>
    one.status === 'fulfilled' && one.value.type === 'body' ? [one.value] : [],
  );
  if (bodies.length < parts.length) {
    const reason: unknown = signal.reason;
    for (const body of bodies) body.source.abort(reason);
    if (isErrorAnswer(reason)) return reason;
    throw reason;
  }
  const choicesPerPrompt = choicesOf(request.body);
  const sources = bodies.map((body) => body.source);
  if (request.body.get('stream') === true) {
    const includeUsage =
      (request.body.get('stream_options') as { include_usage?: unknown } | null | undefined)
        ?.include_usage === true;
    return {
      ...bodies[0]!,
      source: mergeStreams(sources, { requestId: request.requestId, choicesPerPrompt, includeUsage }),
    };
  }
  return { ...bodies[0]!, source: mergeWhole(sources, { choicesPerPrompt, limitBytes: maxPartBytes }) };
}
