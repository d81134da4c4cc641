import type {
  LanguageModelV3CallOptions,
  LanguageModelV3GenerateResult,
  LanguageModelV3Middleware,
  LanguageModelV3StreamPart,
  LanguageModelV3StreamResult,
} from '@ai-sdk/provider';
import type { Guardrail, GuardrailResult } from './guardrail.js';

/** What the middleware puts into `providerMetadata.moestack`. */
export interface GuardrailMetadata {
  readonly source: 'INPUT' | 'OUTPUT';
  readonly action: GuardrailResult['action'];
  readonly findings: {
    readonly policy: string;
    readonly name: string;
    readonly start: number;
    readonly end: number;
  }[];
  readonly aiProbability?: number;
  readonly aiLabel?: string;
}

/** Options of {@link guardrailMiddleware}. */
export interface GuardrailMiddlewareOptions {
  /** Check what users write; default true. A blocked input is answered without calling the model. */
  readonly input?: boolean;
  /** Check what the model writes; default true. */
  readonly output?: boolean;
}

/** Longest output that is held back before a stream is given up on. */
const MAXIMUM_HELD = 16 * 2 ** 20;
const NO_USAGE: LanguageModelV3GenerateResult['usage'] = {
  inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined },
};

/**
 * AI SDK middleware that checks user messages and generated text.
 *
 * A blocked text is replaced by the policy's message, with finish reason `content-filter`. A stream is held back until its text can be
 * judged, unless the policy only annotates: then it passes as it comes, and the result is in the metadata of its last part.
 */
export function guardrailMiddleware(
  guardrail: Guardrail,
  options: GuardrailMiddlewareOptions = {},
): LanguageModelV3Middleware {
  const { input = true, output = true } = options;
  return {
    specificationVersion: 'v3',
    transformParams: async ({ params }) => (input ? redactPrompt(params, guardrail) : params),
    wrapGenerate: async ({ doGenerate, params }) => {
      const refused = input ? blockedInput(params, guardrail) : undefined;
      if (refused !== undefined) return refusal(refused, 'INPUT');
      const result = await doGenerate();
      return output ? checkGenerated(result, guardrail) : result;
    },
    wrapStream: async ({ doStream, params }) => {
      const refused = input ? blockedInput(params, guardrail) : undefined;
      if (refused !== undefined) return { stream: streamOf(refusalParts(refused, 'INPUT')) };
      const result = await doStream();
      return output ? { ...result, stream: checkStream(result.stream, guardrail) } : result;
    },
  };
}

/** The same for the fourth version of the specification, whose middleware has the same shape for text. */
export function guardrailMiddlewareV4<V4Middleware extends { readonly specificationVersion: 'v4' }>(
  guardrail: Guardrail,
  options: GuardrailMiddlewareOptions = {},
): V4Middleware {
  return {
    ...guardrailMiddleware(guardrail, options),
    specificationVersion: 'v4',
  } as unknown as V4Middleware;
}

function userTexts(params: LanguageModelV3CallOptions): string[] {
  return params.prompt.flatMap((message) =>
    message.role === 'user'
      ? message.content.flatMap((part) => (part.type === 'text' ? [part.text] : []))
      : [],
  );
}

function blockedInput(params: LanguageModelV3CallOptions, guardrail: Guardrail): GuardrailResult | undefined {
  return userTexts(params)
    .map((text) => guardrail.check(text, 'INPUT'))
    .find(({ action }) => action === 'blocked');
}

/** Masks what is to be masked in user messages; blocked ones are left for the call to refuse. */
function redactPrompt(params: LanguageModelV3CallOptions, guardrail: Guardrail): LanguageModelV3CallOptions {
  return {
    ...params,
    prompt: params.prompt.map((message) => {
      if (message.role !== 'user') return message;
      return {
        ...message,
        content: message.content.map((part) => {
          if (part.type !== 'text') return part;
          const { action, text } = guardrail.check(part.text, 'INPUT');
          return action === 'redacted' ? { ...part, text } : part;
        }),
      };
    }),
  };
}

function checkGenerated(
  result: LanguageModelV3GenerateResult,
  guardrail: Guardrail,
): LanguageModelV3GenerateResult {
  const text = result.content.map((part) => (part.type === 'text' ? part.text : '')).join('');
  const whole = guardrail.check(text, 'OUTPUT');
  const providerMetadata = withMetadata(result.providerMetadata, whole, 'OUTPUT');
  if (whole.action === 'blocked') {
    const { content, finishReason } = refusal(whole, 'OUTPUT');
    return { ...result, content, finishReason, providerMetadata };
  }
  return {
    ...result,
    providerMetadata,
    content: result.content.map((part) => {
      if (part.type !== 'text' && part.type !== 'reasoning') return part;
      const { action, text: masked } = guardrail.check(part.text, 'OUTPUT');
      return action === 'redacted' ? { ...part, text: masked } : part;
    }),
  };
}

/** Parts of a stream, held until its end unless nothing in the policy can change them. */
function checkStream(
  stream: ReadableStream<LanguageModelV3StreamPart>,
  guardrail: Guardrail,
): ReadableStream<LanguageModelV3StreamPart> {
  const held: LanguageModelV3StreamPart[] = [];
  let text = '';
  let size = 0;
  return stream.pipeThrough(
    new TransformStream<LanguageModelV3StreamPart, LanguageModelV3StreamPart>({
      transform(part, controller) {
        if (part.type === 'text-delta') text += part.delta;
        if (part.type === 'text-delta' || part.type === 'reasoning-delta') size += part.delta.length;
        if (size > MAXIMUM_HELD) {
          controller.error(
            new Error(`the output is longer than the ${MAXIMUM_HELD} characters that can be checked`),
          );
          return;
        }
        if (part.type === 'finish') {
          const result = guardrail.check(text, 'OUTPUT');
          const providerMetadata = withMetadata(part.providerMetadata, result, 'OUTPUT');
          if (result.action === 'blocked') {
            for (const item of refusalParts(result, 'OUTPUT').slice(1, -1)) controller.enqueue(item);
            controller.enqueue({ ...part, providerMetadata, finishReason: FILTERED });
            return;
          }
          for (const item of maskParts(held, guardrail)) controller.enqueue(item);
          controller.enqueue({ ...part, providerMetadata });
        } else if (
          guardrail.onlyAnnotates ||
          part.type === 'stream-start' ||
          part.type === 'response-metadata'
        ) {
          controller.enqueue(part);
        } else if (part.type === 'error') controller.enqueue(part);
        else held.push(part);
      },
    }),
  );
}

/** Joins the deltas of each block, so that nothing hides between two of them, and masks. */
function maskParts(
  parts: readonly LanguageModelV3StreamPart[],
  guardrail: Guardrail,
): LanguageModelV3StreamPart[] {
  const blocks = new Map<string, string>();
  const result: LanguageModelV3StreamPart[] = [];
  for (const part of parts) {
    if (part.type === 'text-delta' || part.type === 'reasoning-delta') {
      const key = `${part.type} ${part.id}`;
      blocks.set(key, (blocks.get(key) ?? '') + part.delta);
      continue;
    }
    if (part.type === 'text-end' || part.type === 'reasoning-end') {
      const type = part.type === 'text-end' ? 'text-delta' : 'reasoning-delta';
      const block = blocks.get(`${type} ${part.id}`) ?? '';
      blocks.delete(`${type} ${part.id}`);
      const { action, text } = guardrail.check(block, 'OUTPUT');
      // A block of reasoning alone may be what a policy blocks.
      const delta = action === 'redacted' || action === 'blocked' ? text : block;
      if (delta !== '') result.push({ type, id: part.id, delta });
    }
    result.push(part);
  }
  return result;
}

const FILTERED: LanguageModelV3GenerateResult['finishReason'] = {
  unified: 'content-filter',
  raw: 'guardrail',
};

function refusal(result: GuardrailResult, source: 'INPUT' | 'OUTPUT'): LanguageModelV3GenerateResult {
  return {
    content: [{ type: 'text', text: result.text }],
    finishReason: FILTERED,
    usage: NO_USAGE,
    warnings: [],
    providerMetadata: withMetadata(undefined, result, source),
  };
}

function refusalParts(result: GuardrailResult, source: 'INPUT' | 'OUTPUT'): LanguageModelV3StreamPart[] {
  const { finishReason, usage, providerMetadata } = refusal(result, source);
  const id = 'guardrail';
  return [
    { type: 'stream-start', warnings: [] },
    { type: 'text-start', id },
    { type: 'text-delta', id, delta: result.text },
    { type: 'text-end', id },
    { type: 'finish', finishReason, usage, ...(providerMetadata !== undefined && { providerMetadata }) },
  ];
}

type ProviderMetadata = NonNullable<LanguageModelV3GenerateResult['providerMetadata']>;

function withMetadata(
  existing: ProviderMetadata | undefined,
  result: GuardrailResult,
  source: 'INPUT' | 'OUTPUT',
): ProviderMetadata {
  const { action, findings, verdict } = result;
  return {
    ...existing,
    moestack: {
      source,
      action,
      findings: findings.map(({ policy, name, start, end }) => ({ policy, name, start, end })),
      ...(verdict !== undefined && { aiProbability: verdict.probability, aiLabel: verdict.label }),
    },
  };
}

function streamOf(parts: readonly LanguageModelV3StreamPart[]): LanguageModelV3StreamResult['stream'] {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
}
