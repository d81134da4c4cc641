import { AbortedError } from '@moestack/schemas/errors';
import type { Lease, UsedTokens } from '../auth/limiter.js';
import { countPrompts } from '../backends/fan-out.js';
import { stripInternalFields } from '../backends/internal-fields.js';
import { upstreamError } from '../errors.js';
import type { ForwardAnswer, ForwardingBackend, ForwardPath, ForwardRequest } from '../forward.js';
import { checkInput } from '../guardrail/check-input.js';
import { checkedStream, checkWhole } from '../guardrail/check-output.js';
import type { AnswerSink } from '../http/answer-sink.js';
import { isErrorAnswer } from '../http/error-frame.js';
import { errorBody, errorHeaders, errorStatus } from '../http/error-response.js';
import { type RelayResult, relayStream } from '../http/relay-stream.js';
import { readWhole } from '../http/relay-whole.js';
import { JsonObject } from '../json/json-object.js';
import type { BodySource } from '../upstream/leg.js';
import type { GatewayContext } from './options.js';
import type { RequestLog } from './request-log.js';
import { watchedGuardrail } from './watched-guardrail.js';

/** A request that goes to a pool, its body read and its sender known. */
export interface ForwardedRequest {
  readonly requestId: string;
  readonly path: ForwardPath;
  readonly body: JsonObject;
  readonly header: (name: string) => string | undefined;
  readonly backend: ForwardingBackend;
  readonly log: RequestLog;
  readonly lease: Lease;
  readonly countsTokens: boolean;
  /** Aborts when the client leaves. */
  readonly client: AbortSignal;
}

/**
 * Sends a request to a pool and its answer to the client. Never throws: every failure becomes an answer, unless nobody
 * is there to read it.
 */
export async function answerForwarded(
  request: ForwardedRequest,
  sink: AnswerSink,
  context: GatewayContext,
): Promise<void> {
  const task = context.inFlight.begin(request.client);
  const { log, lease } = request;
  let used: UsedTokens | undefined;
  // Where an answer has no usage, or is not read to its end, pieces are the best count of tokens there is.
  const progress = { pieces: 0 };
  try {
    const { forward, hideUsage } = await prepare(request, context);
    const answer = await request.backend.forward(forward, { signal: task.signal, observer: log.observer });
    if (answer.type === 'error') {
      used = { promptTokens: 0, completionTokens: 0 };
      sendErrorAnswer(answer, sink, request.requestId);
      log.finished(answer.status, answer.status < 500 ? 'refused' : 'failed', answer.code);
      return;
    }
    const isStream = /^text\/event-stream\b/i.test(answer.contentType);
    if (isStream && request.body.get('stream') !== true) {
      const error = upstreamError(
        'bad-answer',
        'of the answer',
        'it sent a stream, though none was asked for',
      );
      answer.source.abort(error);
      throw error;
    }
    const result = isStream
      ? await sendStream(request, answer, sink, { context, signal: task.signal, hideUsage, progress })
      : await sendWhole(request, answer.source, sink, { context, signal: task.signal });
    used = result.usage;
    log.usage(result.usage);
    log.finished(200, result.outcome, result.code, result.finishReason);
  } catch (error) {
    const cause: unknown = task.signal.aborted ? task.signal.reason : error;
    if (request.client.aborted) {
      log.finished(499, 'aborted', 'serving/client-left');
      return;
    }
    sendError(cause, sink, request.requestId);
    log.failed(cause);
    // A server's own answer is that server's to log; it may quote the prompt.
    if (errorStatus(cause) >= 500 && !isErrorAnswer(cause)) context.onError(cause, request.requestId);
  } finally {
    lease.settle(used ?? { completionTokens: progress.pieces });
    task.end();
  }
}

async function prepare(
  request: ForwardedRequest,
  context: GatewayContext,
): Promise<{ forward: ForwardRequest; hideUsage: boolean }> {
  let body = stripInternalFields(request.body);
  const guardrail = watchedGuardrail(context.guardrail, request.log);
  if (guardrail !== undefined) body = await checkInput(body, guardrail);
  const hideUsage = request.countsTokens && body.get('stream') === true && !asksForUsage(body);
  if (hideUsage) {
    const options = body.raw('stream_options');
    const withUsage = options?.startsWith('{')
      ? JsonObject.parse(options).with({ include_usage: 'true' })
      : '{"include_usage":true}';
    body = JsonObject.parse(body.with({ stream_options: withUsage }));
  }
  const { requestId, path } = request;
  return { forward: { requestId, path, body, header: tracedHeader(request, context) }, hideUsage };
}

/** The client's headers; servers are told of the span that asks them instead of the client's. */
function tracedHeader(
  { header, requestId }: ForwardedRequest,
  { monitor: { spans } }: GatewayContext,
): ForwardedRequest['header'] {
  if (spans === undefined) return header;
  return (name) => (name === 'traceparent' ? spans.traceparent(requestId) : undefined) ?? header(name);
}

function asksForUsage(body: JsonObject): boolean {
  return (
    (body.get('stream_options') as { include_usage?: unknown } | null | undefined)?.include_usage === true
  );
}

interface SendContext {
  readonly context: GatewayContext;
  readonly signal: AbortSignal;
}

async function sendStream(
  request: ForwardedRequest,
  answer: Extract<ForwardAnswer, { type: 'body' }>,
  sink: AnswerSink,
  {
    context,
    signal,
    hideUsage,
    progress,
  }: SendContext & {
    readonly hideUsage: boolean;
    readonly progress: { pieces: number };
  },
): Promise<RelayResult> {
  const guardrail = watchedGuardrail(context.guardrail, request.log);
  const source = guardrail === undefined ? answer.source : checkedStream(answer.source, guardrail);
  sink.start(200, {
    'content-type': answer.contentType,
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
    'x-request-id': request.requestId,
  });
  const n = request.body.get('n');
  const relayed = relayStream(source, sink, {
    requestId: request.requestId,
    choices: countPrompts(request.body) * (typeof n === 'number' ? n : 1),
    hideUsage,
    onFirstByte: () => request.log.firstByte(),
    progress,
  });
  const ended = await untilAborted(relayed, signal);
  if (ended.type === 'done') return ended.value;
  source.abort(signal.reason);
  if (request.client.aborted) throw signal.reason;
  // The gateway ends the request, for a shutdown say: the client is told why.
  sink.end(`data: ${JSON.stringify(errorBody(signal.reason, request.requestId))}\n\ndata: [DONE]\n\n`);
  return { outcome: 'failed', code: 'serving/draining' };
}

async function sendWhole(
  request: ForwardedRequest,
  source: BodySource,
  sink: AnswerSink,
  { context, signal }: SendContext,
): Promise<RelayResult> {
  const ended = await untilAborted(readWhole(source), signal);
  if (ended.type === 'aborted') {
    source.abort(signal.reason);
    throw signal.reason;
  }
  if (request.body.get('stream') === true) {
    throw upstreamError('bad-answer', 'of the answer', 'it sent no stream, though one was asked for');
  }
  let { bytes } = ended.value;
  const guardrail = watchedGuardrail(context.guardrail, request.log);
  if (guardrail !== undefined) bytes = Buffer.from(await checkWhole(bytes.toString('utf8'), guardrail));
  request.log.firstByte();
  sink.start(200, {
    'content-type': 'application/json',
    'content-length': String(bytes.byteLength),
    'x-request-id': request.requestId,
  });
  sink.end(bytes);
  const { usage, finishReason } = ended.value;
  return { outcome: 'ok', ...(usage && { usage }), ...(finishReason !== undefined && { finishReason }) };
}

type Ended<T> = { readonly type: 'done'; readonly value: T } | { readonly type: 'aborted' };

function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<Ended<T>> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve({ type: 'aborted' });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    work.then(
      (value) => {
        signal.removeEventListener('abort', onAbort);
        resolve({ type: 'done', value });
      },
      (error: unknown) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    );
  });
}

function sendErrorAnswer(
  answer: Extract<ForwardAnswer, { type: 'error' }>,
  sink: AnswerSink,
  requestId: string,
): void {
  sink.start(answer.status, {
    'content-type': 'application/json',
    'x-request-id': requestId,
    ...(answer.retryAfter !== undefined && { 'retry-after': answer.retryAfter }),
  });
  sink.end(answer.body);
}

/** Answers with an error, typed or not. */
export function sendError(error: unknown, sink: AnswerSink, requestId: string): void {
  if (isErrorAnswer(error)) {
    sendErrorAnswer(error, sink, requestId);
    return;
  }
  sink.start(errorStatus(error), errorHeaders(error, requestId));
  sink.end(JSON.stringify(errorBody(error, requestId)));
}

/** The reason with which a request ends whose client has left. */
export function clientLeft(): AbortedError {
  return new AbortedError('the request');
}
