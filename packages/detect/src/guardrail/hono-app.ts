import { Hono } from 'hono';
import { DetectError } from '../errors.js';
import { needInteger } from '../scores/checks.js';
import { applyGuardrail, parseApplyGuardrailBody } from './apply-guardrail.js';
import type { Guardrail } from './guardrail.js';
import { BodyTooLargeError, readText } from './read-body.js';

/** Options of {@link createGuardrailApp}. */
export interface GuardrailAppOptions {
  /** Guardrails by identifier; `ID` serves every version, `ID:VERSION` that one alone. */
  readonly guardrails: Readonly<Record<string, Guardrail>>;
  /** Longest request body; default 16 MiB. */
  readonly maximumBodyBytes?: number;
  /** Throws, or returns false, for requests that may not come in. Signatures are not checked here. Default: all may. */
  readonly authorize?: (request: Request) => boolean | Promise<boolean>;
}

const VERSION = /^(?:DRAFT|[1-9]\d{0,7})$/;
const MAXIMUM_BODY_BYTES = 16 * 2 ** 20;

/**
 * An application with Amazon Bedrock's `POST /guardrail/{id}/version/{version}/apply`. Point `endpoint` of a `BedrockRuntimeClient`
 * at it, or mount it in your own Hono application.
 */
export function createGuardrailApp(options: GuardrailAppOptions): Hono {
  const { maximumBodyBytes = MAXIMUM_BODY_BYTES } = options;
  needInteger('maximumBodyBytes', maximumBodyBytes, 1);
  const guardrails = new Map(Object.entries(options.guardrails));
  const app = new Hono();
  app.post('/guardrail/:id/version/:version/apply', async (context) => {
    const { id, version } = context.req.param();
    if (options.authorize !== undefined && !(await options.authorize(context.req.raw)))
      return failure('AccessDeniedException', 403, 'this request is not authorised');
    if (!VERSION.test(version))
      return failure(
        'ValidationException',
        400,
        `expected DRAFT or a number for guardrailVersion, got ${version.slice(0, 80)}`,
      );
    // An ARN names the guardrail by what follows its last slash.
    const name = id.slice(id.lastIndexOf('/') + 1);
    const guardrail = guardrails.get(`${name}:${version}`) ?? guardrails.get(name);
    if (guardrail === undefined)
      return failure(
        'ResourceNotFoundException',
        404,
        `there is no guardrail ${name.slice(0, 80)} of version ${version}`,
      );
    try {
      const body: unknown = JSON.parse(await readText(context.req.raw, maximumBodyBytes));
      return context.json(applyGuardrail(guardrail, parseApplyGuardrailBody(body)));
    } catch (error) {
      if (error instanceof SyntaxError) return failure('ValidationException', 400, 'expected a JSON body');
      if (error instanceof BodyTooLargeError || DetectError.isInstance(error))
        return failure('ValidationException', 400, (error as Error).message);
      return failure('InternalServerException', 500, 'the guardrail failed');
    }
  });
  return app;
}

/** An error as AWS clients expect it: the type in a header, the message in the body. */
function failure(type: string, status: number, message: string): Response {
  return new Response(JSON.stringify({ message }), {
    status,
    headers: { 'content-type': 'application/json', 'x-amzn-errortype': type },
  });
}
