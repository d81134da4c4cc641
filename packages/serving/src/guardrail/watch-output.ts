import { upstreamError } from '../errors.js';
import { eventData, SseFrames } from '../http/sse-frames.js';
import { JsonObject } from '../json/json-object.js';
import type { BodyConsumer, BodySource } from '../upstream/leg.js';
import { textFields } from './choice-texts.js';
import { type GatewayGuardrail, maxHeldCharacters } from './guardrail.js';

/** Passes a stream on as it comes and judges the texts of its choices as they finish; the end waits for the verdicts. */
export class StreamWatch implements BodyConsumer {
  readonly #source: BodySource;
  readonly #consumer: BodyConsumer;
  readonly #guardrail: GatewayGuardrail;
  readonly #frames = new SseFrames();
  /** Texts by field, by choice. */
  readonly #texts = new Map<number, Map<string, string>>();
  #characters = 0;
  #verdicts: Promise<unknown> = Promise.resolve();

  constructor(source: BodySource, consumer: BodyConsumer, guardrail: GatewayGuardrail) {
    this.#source = source;
    this.#consumer = consumer;
    this.#guardrail = guardrail;
  }

  data(chunk: Uint8Array): boolean {
    try {
      for (const event of this.#frames.push(chunk)) this.#event(event);
    } catch (error) {
      const failure = upstreamError(
        'bad-answer',
        'of the stream',
        'it sent an event that is too long',
        error,
      );
      this.#source.abort(failure);
      this.#consumer.error(failure);
      return true;
    }
    return this.#consumer.data(chunk);
  }

  end(): void {
    this.#verdicts.then(
      () => this.#consumer.end(),
      (error: unknown) => this.#consumer.error(error),
    );
  }

  error(error: unknown): void {
    this.#consumer.error(error);
  }

  #event(event: string): void {
    const data = eventData(event);
    const choices = data?.startsWith('{') === true ? JsonObject.tryParse(data)?.get('choices') : undefined;
    if (!Array.isArray(choices)) return;
    for (const choice of choices as readonly (Record<string, unknown> | null)[]) {
      if (typeof choice !== 'object' || choice === null) continue;
      const index = Number(choice['index'] ?? 0);
      this.#collect(index, 'text', choice['text']);
      const delta = choice['delta'];
      if (typeof delta === 'object' && delta !== null) {
        for (const field of textFields)
          this.#collect(index, field, (delta as Record<string, unknown>)[field]);
      }
      if (typeof choice['finish_reason'] === 'string') this.#judge(index);
    }
  }

  #collect(index: number, field: string, value: unknown): void {
    if (typeof value !== 'string' || value === '') return;
    this.#characters += value.length;
    // What is beyond is not judged: nothing is withheld here, so nothing has to fail.
    if (this.#characters > maxHeldCharacters) return;
    let texts = this.#texts.get(index);
    if (texts === undefined) this.#texts.set(index, (texts = new Map()));
    texts.set(field, (texts.get(field) ?? '') + value);
  }

  #judge(index: number): void {
    const texts = [...(this.#texts.get(index)?.values() ?? [])];
    this.#texts.delete(index);
    const verdicts = texts.map(async (text) => this.#guardrail.check(text, 'OUTPUT'));
    this.#verdicts = Promise.all([this.#verdicts, ...verdicts]);
    // Told at the end; a body that breaks off before has an error of its own.
    this.#verdicts.catch(() => undefined);
  }
}
