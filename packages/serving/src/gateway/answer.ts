import { AbortedError } from '@moestack/schemas/errors';
import type { Lease } from '../auth/limiter.js';
import type { Backend, BackendEvent, GenerateRequest, Usage } from '../backend.js';
import { errorCode } from '../http/error-frame.js';
import { errorBody } from '../http/error-response.js';
import { sseResponse } from '../http/sse.js';
import type { ServingMetrics } from '../metrics/serving-metrics.js';
import type { AnswerFormat } from '../openai/answer-format.js';
import { sumUsage } from '../openai/format.js';
import type { UsageBody } from '../openai/responses.js';
import { type Admitted, admitAll, collect, interleave, releaseAll } from './generations.js';
import type { InFlight } from './in-flight.js';
import type { RequestLog } from './request-log.js';

/** What an answer needs around it. */
export interface AnswerContext {
  readonly backend: Backend;
  readonly metrics: ServingMetrics;
  readonly inFlight: InFlight;
  readonly requestId: string;
  /** Aborts when the client leaves. */
  readonly client: AbortSignal;
  readonly log: RequestLog;
  readonly lease: Lease;
  /** Told of errors that nobody else sees. */
  readonly onError: (error: unknown, requestId: string) => void;
}

/** How one request is answered. */
export interface AnswerPlan {
  readonly generations: readonly GenerateRequest[];
  readonly choicesPerPrompt: number;
  readonly format: AnswerFormat;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

type Task = ReturnType<InFlight['begin']>;

/**
 * Generates and answers, whole or as a stream.
 *
 * @throws what the backend throws before its first event.
 */
export async function answer(plan: AnswerPlan, context: AnswerContext): Promise<Response> {
  const task = context.inFlight.begin(context.client);
  let streaming = false;
  let admitted: Admitted[] = [];
  const worker = context.backend.name;
  context.log.routed(worker, worker, 'whole', 0);
  try {
    admitted = await admitAll(context.backend, plan.generations, task.signal, task.abort);
    if (!plan.stream) return await answerWhole(plan, context, admitted);
    const frames = streamFrames(plan, context, admitted, task);
    streaming = true;
    return sseResponse(frames, {
      requestId: context.requestId,
      onError: async (error) => {
        // A shutdown or a lost client is the reason behind whatever the backend made of it.
        const cause = task.signal.aborted ? task.signal.reason : error;
        context.onError(cause, context.requestId);
        context.log.finished(200, 'failed', errorCode(cause));
        context.lease.settle(undefined);
        await releaseAll(admitted);
        task.end();
        return errorBody(cause, context.requestId);
      },
      onCancel: async () => {
        task.abort(new AbortedError('the request'));
        context.log.finished(200, 'aborted', 'serving/client-left');
        context.lease.settle(undefined);
        await releaseAll(admitted);
        task.end();
      },
    });
  } catch (error) {
    // The first reason wins: what the backend throws after an abort is its consequence.
    task.abort(error);
    await releaseAll(admitted);
    throw task.signal.reason;
  } finally {
    if (!streaming) task.end();
  }
}

async function answerWhole(
  plan: AnswerPlan,
  context: AnswerContext,
  admitted: readonly Admitted[],
): Promise<Response> {
  const choices = await Promise.all(
    admitted.map(async (one) => {
      const observe = context.metrics.follow(one.request.model);
      observe(one.start);
      return collect(context.backend, one, observe);
    }),
  );
  const usage = sumUsage(
    choices.map((choice) => choice.finish.usage),
    plan.choicesPerPrompt,
  );
  context.log.firstByte();
  finish(context, usage);
  return new Response(JSON.stringify(plan.format.whole(choices, usage)), {
    headers: { 'content-type': 'application/json', 'x-request-id': context.requestId },
  });
}

async function* streamFrames(
  plan: AnswerPlan,
  context: AnswerContext,
  admitted: readonly Admitted[],
  task: Task,
): AsyncGenerator<unknown, undefined> {
  const observers = admitted.map((one) => context.metrics.follow(one.request.model));
  const usages: Usage[] = [];
  const see = (index: number, event: BackendEvent) => {
    if (event.type === 'delta') context.log.firstByte();
    observers[index]?.(event);
    return plan.format.frame(index, event);
  };
  for (const [index, one] of admitted.entries()) {
    const frame = see(index, one.start);
    if (frame !== undefined) yield frame;
  }
  for await (const { index, event } of interleave(context.backend, admitted, task.abort)) {
    if (event.type === 'finish') usages[index] = event.usage;
    const frame = see(index, event);
    if (frame !== undefined) yield frame;
  }
  const usage = sumUsage(usages, plan.choicesPerPrompt);
  if (plan.includeUsage) yield plan.format.usage(usage);
  finish(context, usage);
  task.end();
  return undefined;
}

function finish({ log, lease }: AnswerContext, body: UsageBody): void {
  const usage: Usage = {
    promptTokens: body.prompt_tokens,
    completionTokens: body.completion_tokens,
    cachedTokens: body.prompt_tokens_details.cached_tokens,
  };
  log.usage(usage);
  log.finished(200, 'ok');
  lease.settle(usage);
}
