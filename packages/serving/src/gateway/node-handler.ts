import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ForwardPath } from '../forward.js';
import { NodeSink } from '../http/answer-sink.js';
import { errorStatus } from '../http/error-response.js';
import { readNodeBody } from '../http/read-body.js';
import { isForwarding } from './backend-set.js';
import { answerForwarded, clientLeft, sendError } from './forwarded.js';
import { openRequest } from './open-request.js';
import type { GatewayContext } from './options.js';

/**
 * Answers requests that are passed on as they are directly between node's own server and the pool, without the
 * objects of the Fetch API between them.
 *
 * @returns whether it takes the request.
 */
export function nodeHandler(
  context: GatewayContext,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const { onlyForwards } = context.backends;
  return (request, response) => {
    if (!onlyForwards || request.method !== 'POST') return false;
    const path = forwardPath(request.url);
    if (path === undefined) return false;
    void handle(request, response, path, context);
    return true;
  };
}

function forwardPath(url: string | undefined): ForwardPath | undefined {
  const end = url?.indexOf('?') ?? -1;
  const path = end === -1 ? url : url?.slice(0, end);
  return path === '/v1/chat/completions' || path === '/v1/completions' ? path : undefined;
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  path: ForwardPath,
  context: GatewayContext,
): Promise<void> {
  const requestId = context.newId();
  const client = new AbortController();
  // A write that races with the end of the connection is no error of ours.
  response.on('error', () => undefined);
  response.on('close', () => {
    if (!response.writableFinished) client.abort(clientLeft());
    context.metrics.response(path, response.statusCode);
  });
  const sink = new NodeSink(response);
  const header = (name: string) => {
    const value = request.headers[name];
    return typeof value === 'string' ? value : value?.[0];
  };
  try {
    const opened = await openRequest(
      { requestId, route: path, header, readBody: () => readNodeBody(request, context.maxBodyBytes) },
      context,
    );
    const { backend } = opened;
    if (!isForwarding(backend)) throw new Error('only pools are handled here');
    await answerForwarded(
      { ...opened, backend, requestId, path, header, client: client.signal },
      sink,
      context,
    );
  } catch (error) {
    // The rest of a body that nobody reads must not be taken for the next request.
    if (!request.complete) response.setHeader('connection', 'close');
    sendError(error, sink, requestId);
    if (errorStatus(error) >= 500) context.onError(error, requestId);
  }
}
