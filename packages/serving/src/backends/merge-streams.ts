import { type ServingError, upstreamError } from '../errors.js';
import { hiddenError, isErrorBody } from '../http/error-frame.js';
import { findFinishReason } from '../http/finish-reason.js';
import { eventData, SseFrames } from '../http/sse-frames.js';
import { JsonObject } from '../json/json-object.js';
import type { BodyConsumer, BodySource } from '../upstream/leg.js';
import { renumberedChoices, UsageSum } from './merge-whole.js';

/** Options of {@link mergeStreams}. */
export interface MergeOptions {
  readonly requestId: string;
  readonly choicesPerPrompt: number;
  readonly includeUsage: boolean;
}

/**
 * One stream of several with a choice each: events as they come, under the id of the first, choices numbered anew,
 * usage summed at the end. The first failure ends them all.
 */
export function mergeStreams(sources: readonly BodySource[], options: MergeOptions): BodySource {
  const usage = new UsageSum(options.choicesPerPrompt);
  let id: string | undefined;
  let last: JsonObject | undefined;
  let open = sources.length;
  let isOver = false;
  const abortAll = (reason: unknown) => {
    isOver = true;
    for (const source of sources) source.abort(reason);
  };

  const rewrite = (body: JsonObject, index: number): string | undefined => {
    id ??= body.raw('id');
    const choices = renumberedChoices(body, index);
    last = body;
    if (choices.length === 0) {
      if (body.has('usage')) usage.add(index, body.get('usage'));
      return undefined;
    }
    return body.with({ choices: `[${choices.join(',')}]`, ...(id !== undefined && { id }) });
  };

  const consumerOf = (index: number, consumer: BodyConsumer): BodyConsumer => {
    const frames = new SseFrames();
    let isDone = false;
    let isFinished = false;
    const fail = (error: unknown) => {
      if (isOver) return;
      abortAll(error);
      consumer.error(error);
    };
    const done = () => {
      open -= 1;
      if (open > 0) return;
      isOver = true;
      let text = 'data: [DONE]\n\n';
      if (options.includeUsage && last !== undefined) {
        const body = last.with({ choices: '[]', usage: usage.toJson(), ...(id !== undefined && { id }) });
        text = `data: ${body}\n\n${text}`;
      }
      consumer.data(Buffer.from(text));
      consumer.end();
    };
    return {
      data(chunk) {
        if (isDone) sources[index]!.abort(undefined);
        if (isOver || isDone) return true;
        let events: string[];
        try {
          events = frames.push(chunk);
        } catch (error) {
          fail(upstreamError('bad-answer', 'of one part', 'it sent an event that is too long', error));
          return true;
        }
        let text = '';
        let failure: unknown;
        for (const event of events) {
          const data = eventData(event);
          if (data === '[DONE]') {
            isDone = true;
            break;
          }
          if (data === undefined) {
            text += `${event}\n\n`;
            continue;
          }
          isFinished ||= findFinishReason(data) !== undefined;
          const body = JsonObject.tryParse(data);
          if (body !== undefined && isErrorBody(body)) {
            failure = hiddenError(body, 'of one part');
            break;
          }
          const rewritten = body === undefined ? data : rewrite(body, index);
          if (rewritten !== undefined) text += `data: ${rewritten}\n\n`;
        }
        const wantsMore = text === '' || consumer.data(Buffer.from(text));
        if (isDone && !isFinished) failure = ended('without a finish reason');
        if (failure !== undefined) fail(failure);
        else if (isDone) done();
        return wantsMore;
      },
      end() {
        if (!isDone) fail(ended('before it was complete'));
      },
      error: fail,
    };
  };

  return {
    consume(consumer) {
      sources.forEach((source, index) => {
        source.consume(consumerOf(index, consumer));
      });
    },
    resume() {
      for (const source of sources) source.resume();
    },
    abort: abortAll,
  };
}

function ended(how: string): ServingError {
  return upstreamError('cut', 'of one part', `its stream ended ${how}`);
}
