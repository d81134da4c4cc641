import type { MiddlewareHandler } from 'hono';
import type { Guardrail, GuardrailResult, GuardrailSource } from './guardrail.js';
import { BodyTooLargeError, readText } from './read-body.js';

/** Options of {@link guardChat}. */
export interface GuardChatOptions {
  /** Check messages of users; default true. */
  readonly input?: boolean;
  /** Check answers; default true. */
  readonly output?: boolean;
  /** Longest body, of requests and answers; default 16 MiB. */
  readonly maximumBodyBytes?: number;
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };

const MAXIMUM_BODY_BYTES = 16 * 2 ** 20;
const HEADER = 'x-moestack-guardrail';

/**
 * Hono middleware for routes that speak the OpenAI chat protocol: put it before a gateway's `/v1/chat/completions`.
 *
 * A blocked request gets status 400 with code `content_filter`; a blocked answer is replaced, with finish reason `content_filter`. What
 * was done is in the header `x-moestack-guardrail`. A stream is held back until its end, unless the policy only annotates.
 */
export function guardChat(guardrail: Guardrail, options: GuardChatOptions = {}): MiddlewareHandler {
  const { input = true, output = true, maximumBodyBytes = MAXIMUM_BODY_BYTES } = options;
  return async (context, next) => {
    if (context.req.method !== 'POST') return next();
    if (input) {
      let body: Json;
      let text: string;
      try {
        text = await readText(context.req.raw.clone() as Request, maximumBodyBytes);
      } catch (error) {
        if (!(error instanceof BodyTooLargeError)) throw error;
        return context.json({ error: openAiError(error.message, 'request_too_large') }, 413);
      }
      try {
        body = JSON.parse(text) as Json;
      } catch {
        // Not for this middleware to refuse.
        return next();
      }
      const { action, message } = checkMessages(body, guardrail);
      if (action === 'blocked') {
        context.header(HEADER, 'blocked');
        return context.json({ error: openAiError(message, 'content_filter') }, 400);
      }
      if (action === 'redacted') {
        const headers = new Headers(context.req.raw.headers);
        headers.delete('content-length');
        context.req.raw = new Request(context.req.raw.url, {
          ...{ method: 'POST', headers, body: JSON.stringify(body), signal: context.req.raw.signal },
        });
        context.req.bodyCache = {};
      }
    }
    await next();
    if (!output || context.res.status !== 200) return;
    const type = context.res.headers.get('content-type') ?? '';
    if (type.includes('text/event-stream')) {
      if (!guardrail.onlyAnnotates) await checkEvents(context, guardrail, maximumBodyBytes);
    } else if (type.includes('json')) await checkAnswer(context, guardrail, maximumBodyBytes);
  };
}

type HonoContext = Parameters<MiddlewareHandler>[0];

async function checkAnswer(context: HonoContext, guardrail: Guardrail, maximumBytes: number): Promise<void> {
  const original = context.res;
  const text = await readText(original, maximumBytes);
  let body: Json;
  try {
    body = JSON.parse(text) as Json;
  } catch {
    replace(context, original, text, 'none');
    return;
  }
  let worst: GuardrailResult['action'] = 'none';
  for (const choice of objectsOf(body, 'choices')) {
    const message = choice['message'];
    if (!isObject(message) || typeof message['content'] !== 'string') continue;
    const result = guardrail.check(message['content'], 'OUTPUT');
    worst = worse(worst, result.action);
    message['content'] = result.text;
    if (result.action === 'blocked') withhold(choice, message);
  }
  replace(
    context,
    original,
    worst === 'blocked' || worst === 'redacted' ? JSON.stringify(body) : text,
    worst,
  );
}

/** Reads a stream of chunks to its end; when something must change, each choice's text comes in its first chunk. */
async function checkEvents(context: HonoContext, guardrail: Guardrail, maximumBytes: number): Promise<void> {
  const original = context.res;
  const text = await readText(original, maximumBytes);
  const events = text.split(/\r?\n\r?\n/).filter((event) => event !== '');
  const chunks = events.map((event) => {
    try {
      return JSON.parse(event.replace(/^data: ?/, '')) as Json;
    } catch {
      return undefined;
    }
  });
  const texts = new Map<string, string>();
  const each = (visit: (index: string, choice: JsonObject, delta: JsonObject) => void): void => {
    for (const chunk of chunks)
      for (const choice of objectsOf(chunk ?? null, 'choices')) {
        const delta = choice['delta'];
        if (isObject(delta)) visit(String(choice['index'] ?? 0), choice, delta);
      }
  };
  each((index, _, delta) => {
    if (typeof delta['content'] === 'string') texts.set(index, (texts.get(index) ?? '') + delta['content']);
  });
  const results = new Map([...texts].map(([index, whole]) => [index, guardrail.check(whole, 'OUTPUT')]));
  const worst = [...results.values()].reduce<GuardrailResult['action']>(
    (one, { action }) => worse(one, action),
    'none',
  );
  if (worst !== 'blocked' && worst !== 'redacted') {
    replace(context, original, text, worst);
    return;
  }
  const told = new Set<string>();
  each((index, choice, delta) => {
    const result = results.get(index);
    if (result === undefined) return;
    if (typeof delta['content'] === 'string') {
      const first = delta['content'] !== '' && !told.has(index);
      delta['content'] = first ? result.text : '';
      if (first) told.add(index);
    }
    if (result.action === 'blocked') {
      delete delta['tool_calls'];
      if (choice['finish_reason'] != null) choice['finish_reason'] = 'content_filter';
    }
  });
  const changed = events.map((event, i) =>
    chunks[i] === undefined ? event : `data: ${JSON.stringify(chunks[i])}`,
  );
  replace(context, original, changed.map((event) => `${event}\n\n`).join(''), worst);
}

function replace(
  context: HonoContext,
  original: Response,
  body: string,
  action: GuardrailResult['action'],
): void {
  const headers = new Headers(original.headers);
  headers.delete('content-length');
  headers.set(HEADER, action);
  // Hono joins headers of the response that is there with those of the new one.
  context.res = undefined;
  context.res = new Response(body, { status: original.status, headers });
}

function withhold(choice: JsonObject, message: JsonObject): void {
  choice['finish_reason'] = 'content_filter';
  delete message['tool_calls'];
}

/** Checks what users write, and masks it in place. */
function checkMessages(
  body: Json,
  guardrail: Guardrail,
): { action: GuardrailResult['action']; message: string } {
  let action: GuardrailResult['action'] = 'none';
  let refused = '';
  const check = (text: string, source: GuardrailSource): string => {
    const result = guardrail.check(text, source);
    action = worse(action, result.action);
    if (result.action === 'blocked') refused = result.text;
    return result.text;
  };
  for (const message of objectsOf(body, 'messages')) {
    if (message['role'] !== 'user') continue;
    if (typeof message['content'] === 'string') message['content'] = check(message['content'], 'INPUT');
    for (const part of objectsOf(message, 'content'))
      if (typeof part['text'] === 'string') part['text'] = check(part['text'], 'INPUT');
  }
  return { action, message: refused };
}

const ORDER: readonly GuardrailResult['action'][] = ['none', 'annotated', 'redacted', 'blocked'];

function worse(a: GuardrailResult['action'], b: GuardrailResult['action']): GuardrailResult['action'] {
  return ORDER.indexOf(a) > ORDER.indexOf(b) ? a : b;
}

function objectsOf(value: Json, field: string): JsonObject[] {
  const list = isObject(value) ? value[field] : undefined;
  return Array.isArray(list) ? list.filter(isObject) : [];
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function openAiError(
  message: string,
  code: string,
): { message: string; type: string; param: null; code: string } {
  return { message, type: 'invalid_request_error', param: null, code };
}
