import { createRoute, type OpenAPIHono, type z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { Backend, GenerateRequest } from '../backend.js';
import { unknownModel } from '../errors.js';
import type { ForwardPath } from '../forward.js';
import { guardedBackend } from '../guardrail/check-events.js';
import { checkInput } from '../guardrail/check-input.js';
import { FetchSink } from '../http/answer-sink.js';
import { checkBody } from '../http/check-body.js';
import { readWebBody } from '../http/read-body.js';
import type { JsonObject } from '../json/json-object.js';
import type { AnswerFormat, AnswerHead } from '../openai/answer-format.js';
import { ChatFormat } from '../openai/chat-format.js';
import { ChatCompletionRequest } from '../openai/chat-request.js';
import type { CommonRequest } from '../openai/common-request.js';
import { CompletionFormat } from '../openai/completion-format.js';
import { CompletionRequest } from '../openai/completion-request.js';
import { ChatCompletion, ChatCompletionChunk, Completion, ErrorBody } from '../openai/responses.js';
import { chatGenerations, completionGenerations, type RequestContext } from '../openai/to-generate.js';
import { refuseUnsupported } from '../openai/unsupported.js';
import { answer } from './answer.js';
import { isForwarding } from './backend-set.js';
import { answerForwarded, clientLeft, type ForwardedRequest } from './forwarded.js';
import { type OpenedRequest, openRequest } from './open-request.js';
import type { GatewayContext, GatewayEnv } from './options.js';
import { watchedGuardrail } from './watched-guardrail.js';

const failures: Readonly<Record<number, string>> = {
  400: 'A value that cannot be served, no JSON, or a prompt longer than the context',
  404: 'No such model',
  413: 'The body is longer than maxBodyBytes',
  415: 'The body is not application/json',
  429: 'The queue is full; see Retry-After',
  500: 'Internal error',
  503: 'Shutting down, or the engine failed',
};

function route(path: string, summary: string, request: z.ZodType, whole: z.ZodType, chunk: z.ZodType) {
  const json = (schema: z.ZodType) => ({ 'application/json': { schema } });
  const errors = Object.fromEntries(
    Object.entries(failures).map(([status, description]) => [
      status,
      { description, content: json(ErrorBody) },
    ]),
  );
  return createRoute({
    method: 'post',
    path,
    summary,
    request: { body: { required: true, content: json(request) } },
    responses: {
      200: {
        description: 'The answer; with stream, server-sent events that end in data: [DONE]',
        content: { ...json(whole), 'text/event-stream': { schema: chunk } },
      },
      ...errors,
    },
  });
}

interface Endpoint<T> {
  readonly path: ForwardPath;
  readonly idPrefix: string;
  readonly schema: z.ZodType<T>;
  readonly generations: (body: T, context: RequestContext) => GenerateRequest[];
  readonly format: (head: AnswerHead, options: { logprobs: boolean }) => AnswerFormat;
}

/** Adds the two endpoints that generate. */
export function addGenerationRoutes(app: OpenAPIHono<GatewayEnv>, context: GatewayContext): void {
  // Bodies are read by `readJson`, with its limits and messages; the registry only describes them.
  app.openAPIRegistry.registerPath(
    route(
      '/v1/chat/completions',
      'Continue a chat',
      ChatCompletionRequest,
      ChatCompletion,
      ChatCompletionChunk,
    ),
  );
  app.openAPIRegistry.registerPath(
    route('/v1/completions', 'Continue a text', CompletionRequest, Completion, Completion),
  );
  const chat: Endpoint<ChatCompletionRequest> = {
    path: '/v1/chat/completions',
    idPrefix: 'chatcmpl',
    schema: ChatCompletionRequest,
    generations: chatGenerations,
    format: (head, options) => new ChatFormat(head, options),
  };
  const completion: Endpoint<CompletionRequest> = {
    path: '/v1/completions',
    idPrefix: 'cmpl',
    schema: CompletionRequest,
    generations: completionGenerations,
    format: (head, options) => new CompletionFormat(head, options),
  };
  app.post('/v1/chat/completions', (c) => generate(c, chat, context));
  app.post('/v1/completions', (c) => generate(c, completion, context));
}

async function generate<T extends CommonRequest & Record<string, unknown>>(
  c: Context<GatewayEnv>,
  endpoint: Endpoint<T>,
  context: GatewayContext,
): Promise<Response> {
  const requestId = c.get('requestId');
  const header = (name: string) => c.req.header(name);
  const readBody = () => readWebBody(c.req.raw, context.maxBodyBytes);
  const opened = await openRequest({ requestId, route: endpoint.path, header, readBody }, context);
  const { backend } = opened;
  if (isForwarding(backend)) {
    const request = { ...opened, backend, requestId, path: endpoint.path, header };
    return forward(request, c.req.raw.signal, context);
  }
  try {
    return await generateHere(c, endpoint, context, { ...opened, backend });
  } catch (error) {
    opened.lease.settle({ promptTokens: 0, completionTokens: 0 });
    if (c.req.raw.signal.aborted) opened.log.finished(499, 'aborted', 'serving/client-left');
    else opened.log.failed(error);
    throw error;
  }
}

async function forward(
  request: Omit<ForwardedRequest, 'client'>,
  client: AbortSignal,
  context: GatewayContext,
): Promise<Response> {
  const cancelled = new AbortController();
  const sink = new FetchSink(() => cancelled.abort(clientLeft()));
  const left = AbortSignal.any([client, cancelled.signal]);
  const answered = answerForwarded({ ...request, client: left }, sink, context);
  // A client that left before the head gets none.
  const nobody = answered.then(() => new Response(null, { status: 499 }));
  return Promise.race([sink.response, nobody]);
}

async function generateHere<T extends CommonRequest & Record<string, unknown>>(
  c: Context<GatewayEnv>,
  endpoint: Endpoint<T>,
  context: GatewayContext,
  opened: OpenedRequest & { readonly backend: Backend },
): Promise<Response> {
  const guardrail = watchedGuardrail(context.guardrail, opened.log);
  const checked: JsonObject =
    guardrail === undefined ? opened.body : await checkInput(opened.body, guardrail);
  const body = checkBody(JSON.parse(checked.text), endpoint.schema);
  refuseUnsupported(body);
  const model = await chooseModel(opened.backend, body.model);
  const requestId = c.get('requestId');
  const generations = endpoint.generations(body, { requestId, model, tenant: opened.tenant });
  const head: AnswerHead = {
    id: `${endpoint.idPrefix}-${requestId}`,
    created: context.clock.unixSeconds(),
    model,
  };
  const logprobs = generations[0]?.logprobs !== undefined;
  return answer(
    {
      generations,
      choicesPerPrompt: body.n ?? 1,
      format: endpoint.format(head, { logprobs }),
      stream: body.stream === true,
      includeUsage: body.stream_options?.include_usage === true,
    },
    {
      backend: guardrail === undefined ? opened.backend : guardedBackend(opened.backend, guardrail),
      metrics: context.metrics,
      inFlight: context.inFlight,
      requestId,
      client: c.req.raw.signal,
      log: opened.log,
      lease: opened.lease,
      onError: context.onError,
    },
  );
}

async function chooseModel(backend: Backend, wanted: string | null | undefined): Promise<string> {
  const served = (await backend.models()).map((card) => card.id);
  const model = wanted ?? served[0];
  if (model === undefined || !served.includes(model)) throw unknownModel(model ?? '', served);
  return model;
}
