import type { ApiKey } from '../auth/api-keys.js';
import type { Lease } from '../auth/limiter.js';
import type { GenerateRequest } from '../backend.js';
import { badRequest, draining } from '../errors.js';
import { requireJsonType } from '../http/read-body.js';
import { JsonObject, requireShallow } from '../json/json-object.js';
import type { AnyBackend } from './backend-set.js';
import type { GatewayContext } from './options.js';
import { RequestLog } from './request-log.js';

/** A request as it comes in, over whichever server. */
export interface Incoming {
  readonly requestId: string;
  readonly route: string;
  readonly header: (name: string) => string | undefined;
  readonly readBody: () => Promise<string>;
}

type Tenant = NonNullable<GenerateRequest['tenant']>;

/** A request that was let in. */
export interface OpenedRequest {
  readonly body: JsonObject;
  readonly backend: AnyBackend;
  readonly log: RequestLog;
  readonly lease: Lease;
  /** The key it was let in with, as engines tell requests apart. */
  readonly tenant: Tenant | undefined;
  /** Whether limits need the tokens of the answer. */
  readonly countsTokens: boolean;
}

/** Characters of JSON that make a token, for the estimate that the answer's usage corrects. */
const charactersPerToken = 4;

/**
 * Checks who asks, reads the body, finds the backend, counts the request.
 *
 * @throws {@link ServingError}; the observer has been told.
 */
export async function openRequest(incoming: Incoming, context: GatewayContext): Promise<OpenedRequest> {
  const { requestId, route, header } = incoming;
  const log = new RequestLog(requestId, context.observer, context.clock);
  const traceparent = header('traceparent');
  let keyId: string | undefined;
  let isAnnounced = false;
  const announce = (model: string, stream: boolean, bodyBytes: number) => {
    isAnnounced = true;
    log.received({ route, model, stream, keyId, bodyBytes, traceparent });
  };
  try {
    if (context.isDraining()) throw draining();
    const visitor = context.admission.visitor(header('authorization'));
    keyId = visitor.key?.id;
    requireJsonType(header('content-type'));
    const text = await incoming.readBody();
    requireShallow(text);
    const body = JsonObject.parse(text);
    const model = readModel(body);
    announce(model ?? '', readStream(body), Buffer.byteLength(text));
    const backend = await context.backends.choose(model);
    const promptTokens = visitor.countsTokens ? Math.ceil(text.length / charactersPerToken) : 0;
    const lease = visitor.admit(model ?? '', promptTokens);
    const tenant = visitor.key && tenantOf(visitor.key);
    return { body, backend, log, lease, tenant, countsTokens: visitor.countsTokens };
  } catch (error) {
    if (!isAnnounced) announce('', false, 0);
    log.failed(error);
    throw error;
  }
}

function tenantOf({ id, weight }: ApiKey): Tenant {
  return { id, ...(weight !== undefined && { weight }) };
}

function readModel(body: JsonObject): string | undefined {
  const model = body.get('model');
  if (model === undefined || model === null) return undefined;
  if (typeof model === 'string' && model !== '' && model.length <= 512) return model;
  throw badRequest({
    param: 'model',
    message: 'model: expected a name of at most 512 characters',
    remedy: 'use a name from GET /v1/models',
  });
}

function readStream(body: JsonObject): boolean {
  const stream = body.get('stream') ?? false;
  if (typeof stream === 'boolean') return stream;
  throw badRequest({
    param: 'stream',
    message: 'stream: expected true or false',
    remedy: 'leave stream out, or send a boolean',
  });
}
