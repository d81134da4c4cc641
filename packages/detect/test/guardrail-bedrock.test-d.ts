import type { LanguageModelV3Middleware } from '@ai-sdk/provider';
import type { LanguageModelV4Middleware } from '@ai-sdk/provider-v4';
import type { ApplyGuardrailRequest, ApplyGuardrailResponse } from '@aws-sdk/client-bedrock-runtime';
import { guardrailMiddleware, guardrailMiddlewareV4 } from '../src/guardrail/ai-sdk.js';
import type { ApplyGuardrailAnswer, ApplyGuardrailBody, Guardrail } from '../src/guardrail/index.js';

declare const answer: ApplyGuardrailAnswer;
declare const guardrail: Guardrail;

// What the server answers is what the client's types promise, and what clients send is what it takes.
answer satisfies ApplyGuardrailResponse;
type Request = Pick<ApplyGuardrailRequest, 'source' | 'outputScope'>;
type Sent = { [K in keyof Request]-?: NonNullable<Request[K]> };
type Taken = { [K in keyof Request]-?: NonNullable<ApplyGuardrailBody[K]> };
declare const sent: Sent;
declare const taken: Taken;
sent satisfies Taken;
taken satisfies Sent;

guardrailMiddleware(guardrail) satisfies LanguageModelV3Middleware;
guardrailMiddlewareV4<LanguageModelV4Middleware>(guardrail) satisfies LanguageModelV4Middleware;
