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

/** `Retry-After` of a thrown value. */
export function retryAfterOf(error: unknown): string | undefined {
  if (!ServingError.isInstance(error) || error.retryAfterSeconds === undefined) return undefined;
  return String(error.retryAfterSeconds);
}

/** Any thrown value as an HTTP response. */
export function errorResponse(error: unknown, requestId: string): Response {
  const headers = new Headers({ 'content-type': 'application/json', 'x-request-id': requestId });
  const retryAfter = retryAfterOf(error);
  if (retryAfter !== undefined) headers.set('retry-after', retryAfter);
  const status = errorStatus(error);
  if (status === 401) headers.set('www-authenticate', 'Bearer');
  return new Response(JSON.stringify(errorBody(error, requestId)), { status, headers });
}
