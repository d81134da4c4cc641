import { MoestackError } from '@moestack/schemas/errors';
import { ServingError } from '../errors.js';
import type { ErrorBody } from '../openai/responses.js';

/** Any thrown value as an OpenAI error body. Nothing of an unexpected error but its request id leaves the server. */
export function errorBody(error: unknown, requestId: string): ErrorBody {
  if (ServingError.isInstance(error)) {
    return {
      error: {
        message: `${error.message}; ${error.remedy}`,
        type: error.type,
        param: error.param,
        code: error.openAiCode,
      },
    };
  }
  const code = MoestackError.isInstance(error) ? error.code : 'internal_error';
  return {
    error: {
      message: `internal error; report it with the server's log of request ${requestId}`,
      type: 'server_error',
      param: null,
      code,
    },
  };
}

/** Status of any thrown value. */
export function errorStatus(error: unknown): number {
  return ServingError.isInstance(error) ? error.status : 500;
}

/** Headers of the answer to any thrown value. */
export function errorHeaders(error: unknown, requestId: string): Record<string, string> {
  const retryAfter = ServingError.isInstance(error) ? error.retryAfterSeconds : undefined;
  return {
    'content-type': 'application/json',
    'x-request-id': requestId,
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
    ...(errorStatus(error) === 401 && { 'www-authenticate': 'Bearer' }),
  };
}

/** Any thrown value as an HTTP response. */
export function errorResponse(error: unknown, requestId: string): Response {
  const body = JSON.stringify(errorBody(error, requestId));
  return new Response(body, { status: errorStatus(error), headers: errorHeaders(error, requestId) });
}
