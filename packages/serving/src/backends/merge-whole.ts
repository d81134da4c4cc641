import { upstreamError } from '../errors.js';
import { hiddenError, isErrorBody } from '../http/error-frame.js';
import { JsonObject, listElements } from '../json/json-object.js';
import type { BodyConsumer, BodySource } from '../upstream/leg.js';

/** Usage of several parts; a prompt that several choices share counts once. */
export class UsageSum {
  readonly #choicesPerPrompt: number;
  #prompt = 0;
  #completion = 0;
  #cached: number | undefined;

  constructor(choicesPerPrompt: number) {
    this.#choicesPerPrompt = choicesPerPrompt;
  }

  add(index: number, usage: unknown): void {
    if (typeof usage !== 'object' || usage === null) return;
    const { prompt_tokens, completion_tokens, prompt_tokens_details } = usage as Record<string, unknown>;
    this.#completion += numberOr0(completion_tokens);
    if (index % this.#choicesPerPrompt !== 0) return;
    this.#prompt += numberOr0(prompt_tokens);
    const cached = (prompt_tokens_details as { cached_tokens?: unknown } | null | undefined)?.cached_tokens;
    if (typeof cached === 'number') this.#cached = (this.#cached ?? 0) + cached;
  }

  toJson(): string {
    return JSON.stringify({
      prompt_tokens: this.#prompt,
      total_tokens: this.#prompt + this.#completion,
      completion_tokens: this.#completion,
      ...(this.#cached !== undefined && { prompt_tokens_details: { cached_tokens: this.#cached } }),
    });
  }
}

function numberOr0(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

/**
 * The choices of a body, numbered anew.
 *
 * @param offset - the first one's number.
 */
export function renumberedChoices(body: JsonObject, offset: number): string[] {
  if (!Array.isArray(body.get('choices'))) return [];
  return listElements(body.raw('choices')!).map((choice, index) => {
    const parsed = JsonObject.tryParse(choice);
    return parsed === undefined ? choice : parsed.with({ index: String(offset + index) });
  });
}

/** One body of several answers' choices: the first one's, with all choices and the sum of the usage. */
export function mergeWhole(
  sources: readonly BodySource[],
  options: { readonly choicesPerPrompt: number; readonly limitBytes: number },
): BodySource {
  return {
    consume(consumer) {
      const merged = Promise.all(sources.map((source) => readText(source, options.limitBytes))).then(
        (texts) => Buffer.from(merge(texts, options.choicesPerPrompt)),
      );
      merged.then(
        (bytes) => {
          consumer.data(bytes);
          consumer.end();
        },
        (error: unknown) => {
          for (const source of sources) source.abort(error);
          consumer.error(error);
        },
      );
    },
    resume: () => undefined,
    abort(reason) {
      for (const source of sources) source.abort(reason);
    },
  };
}

function merge(texts: readonly string[], choicesPerPrompt: number): string {
  const usage = new UsageSum(choicesPerPrompt);
  const choices: string[] = [];
  const bodies = texts.map((text) => {
    const body = JsonObject.tryParse(text);
    if (body === undefined) throw upstreamError('bad-answer', 'of one part', 'its answer is no JSON object');
    return body;
  });
  bodies.forEach((body, index) => {
    if (isErrorBody(body)) throw hiddenError(body, 'of one part');
    usage.add(index, body.get('usage'));
    const added = renumberedChoices(body, choices.length);
    if (added.length === 0) throw upstreamError('bad-answer', 'of one part', 'its answer holds no choice');
    choices.push(...added);
  });
  return bodies[0]!.with({ choices: `[${choices.join(',')}]`, usage: usage.toJson() });
}

function readText(source: BodySource, limitBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    const consumer: BodyConsumer = {
      data(chunk) {
        size += chunk.byteLength;
        chunks.push(chunk);
        if (size <= limitBytes) return true;
        reject(upstreamError('too-large', 'of one part', `its answer is longer than ${limitBytes} bytes`));
        return false;
      },
      end: () => resolve(Buffer.concat(chunks).toString('utf8')),
      error: reject,
    };
    source.consume(consumer);
  });
}
