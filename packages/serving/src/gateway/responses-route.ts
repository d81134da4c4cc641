import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { AbortedError } from '@moestack/schemas/errors';
import type { Context } from 'hono';
import type { Backend } from '../backend.js';
import { badRequest, unknownModel } from '../errors.js';
import { guardedBackend } from '../guardrail/check-events.js';
import { checkInput } from '../guardrail/check-input.js';
import { checkBody } from '../http/check-body.js';
import { errorCode } from '../http/error-frame.js';
import { errorBody } from '../http/error-response.js';
import { readWebBody } from '../http/read-body.js';
import { sseResponse } from '../http/sse.js';
import { type ResponseEvent, ResponseFormat } from '../openai/response-format.js';
import {
  ResponseRequest,
  refuseUnsupportedResponse,
  responseGeneration,
} from '../openai/response-request.js';
import { ErrorBody } from '../openai/responses.js';
import { isForwarding } from './backend-set.js';
import { type Admitted, admitAll, collect, releaseAll } from './generations.js';
import { type OpenedRequest, openRequest } from './open-request.js';
import type { GatewayContext, GatewayEnv } from './options.js';
import { watchedGuardrail } from './watched-guardrail.js';

const path = '/v1/responses';
const json = (schema: z.ZodType) => ({ 'application/json': { schema } });

/** Adds `POST /v1/responses`, without any memory of earlier ones. */
export function addResponsesRoute(app: OpenAPIHono<GatewayEnv>, context: GatewayContext): void {
  app.openAPIRegistry.registerPath(
    createRoute({
      method: 'post',
      path,
      summary: 'Answer an input; nothing is stored',
      request: { body: { required: true, content: json(ResponseRequest) } },
      responses: {
        200: {
          description:
            'The response; with stream, its events, the last of them completed, incomplete or failed',
          content: { ...json(z.looseObject({})), 'text/event-stream': { schema: z.looseObject({}) } },
        },
        400: { description: 'A value that cannot be served', content: json(ErrorBody) },
      },
    }),
  );
  app.post(path, async (c) => {
    const requestId = c.get('requestId');
    const readBody = () => readWebBody(c.req.raw, context.maxBodyBytes);
    const header = (name: string) => c.req.header(name);
    const opened = await openRequest({ requestId, route: path, header, readBody }, context);
    try {
      return await respond(c, opened, context);
    } catch (error) {
      opened.lease.settle({ promptTokens: 0, completionTokens: 0 });
      if (c.req.raw.signal.aborted) opened.log.finished(499, 'aborted', 'serving/client-left');
      else opened.log.failed(error);
      throw error;
    }
  });
}

async function respond(
  c: Context<GatewayEnv>,
  opened: OpenedRequest,
  context: GatewayContext,
): Promise<Response> {
  const { backend } = opened;
  if (isForwarding(backend)) {
    throw badRequest({
      message: `${path} is not available for the model's pool of servers`,
      remedy: 'use /v1/chat/completions',
    });
  }
  const guardrail = watchedGuardrail(context.guardrail, opened.log);
  const checked = guardrail === undefined ? opened.body : await checkInput(opened.body, guardrail);
  const body = checkBody(JSON.parse(checked.text), ResponseRequest);
  refuseUnsupportedResponse(body);
  const served = (await backend.models()).map((card) => card.id);
  const model = body.model ?? served[0];
  if (model === undefined || !served.includes(model)) throw unknownModel(model ?? '', served);

  const requestId = c.get('requestId');
  const generation = responseGeneration(body, { requestId, model, tenant: opened.tenant });
  const created = context.clock.unixSeconds();
  const format = new ResponseFormat({ id: `resp_${requestId.replaceAll('-', '')}`, created, model }, body);
  const used: Backend = guardrail === undefined ? backend : guardedBackend(backend, guardrail);
  const task = context.inFlight.begin(c.req.raw.signal);
  opened.log.routed(used.name, used.name, 'whole', 0);
  let admitted: Admitted[] = [];
  let isStreaming = false;
  try {
    admitted = await admitAll(used, [generation], task.signal, task.abort);
    const observe = context.metrics.follow(model);
    if (body.stream !== true) {
      observe(admitted[0]!.start);
      const { text, finish } = await collect(used, admitted[0]!, observe);
      opened.log.firstByte();
      end(opened, finish.usage);
      return c.json(format.whole(text, finish), 200, { 'x-request-id': requestId });
    }
    isStreaming = true;
    const fail = async (status: 'failed' | 'aborted', cause: unknown) => {
      opened.log.finished(200, status, status === 'failed' ? errorCode(cause) : 'serving/client-left');
      opened.lease.settle(undefined);
      await releaseAll(admitted);
      task.end();
    };
    return sseResponse(streamEvents(format, admitted[0]!, { opened, observe, end: task.end }), {
      requestId,
      encode: (value) =>
        (value as ResponseEvent[])
          .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
          .join(''),
      end: '',
      onError: async (error) => {
        const cause: unknown = task.signal.aborted ? task.signal.reason : error;
        context.onError(cause, requestId);
        await fail('failed', cause);
        return [format.failure(errorBody(cause, requestId))];
      },
      onCancel: async () => {
        task.abort(new AbortedError('the request'));
        await fail('aborted', undefined);
      },
    });
  } catch (error) {
    task.abort(error);
    await releaseAll(admitted);
    throw task.signal.reason;
  } finally {
    if (!isStreaming) task.end();
  }
}

interface StreamContext {
  readonly opened: OpenedRequest;
  readonly observe: ReturnType<GatewayContext['metrics']['follow']>;
  readonly end: () => void;
}

async function* streamEvents(
  format: ResponseFormat,
  admitted: Admitted,
  context: StreamContext,
): AsyncGenerator<ResponseEvent[], undefined> {
  context.observe(admitted.start);
  yield format.start();
  for (;;) {
    const next = await admitted.events.next();
    if (next.done) throw new Error('the backend ended without "finish"');
    const event = next.value;
    context.observe(event);
    if (event.type === 'delta') {
      context.opened.log.firstByte();
      yield [format.delta(event.text)];
    }
    if (event.type !== 'finish') continue;
    await admitted.events.return?.();
    yield format.finish(event);
    end(context.opened, event.usage);
    context.end();
    return undefined;
  }
}

function end({ log, lease }: OpenedRequest, usage: Parameters<typeof log.usage>[0]): void {
  log.usage(usage);
  log.finished(200, 'ok');
  lease.settle(usage);
}
