import { upstreamError } from '../errors.js';
import { eventData, SseFrames } from '../http/sse-frames.js';
import { JsonObject, listElements } from '../json/json-object.js';
import type { BodyConsumer, BodySource } from '../upstream/leg.js';
import { textFields } from './choice-texts.js';
import { type GatewayGuardrail, maxHeldCharacters, tooLongToCheck } from './guardrail.js';
import { StreamWatch } from './watch-output.js';

/** A body without a stream, its texts checked. */
export async function checkWhole(text: string, guardrail: GatewayGuardrail): Promise<string> {
  const body = JsonObject.tryParse(text);
  if (body === undefined || !Array.isArray(body.get('choices'))) {
    throw upstreamError('bad-answer', 'of the answer', 'it holds no choices to check');
  }
  const choices: string[] = [];
  for (const raw of listElements(body.raw('choices')!)) {
    const choice = choiceOf(raw, 'of the answer');
    const edits: Record<string, string> = {};
    const messageText = choice.raw('message');
    if (messageText?.startsWith('{') === true) {
      const checked = await checkFields(JsonObject.parse(messageText), textFields, guardrail);
      if (checked.changed) edits['message'] = checked.text;
      if (checked.blocked) edits['finish_reason'] = '"content_filter"';
    }
    const own = await checkFields(choice, ['text'], guardrail);
    if (own.changed) edits['text'] = JsonObject.parse(own.text).raw('text')!;
    if (own.blocked) edits['finish_reason'] = '"content_filter"';
    if (Object.keys(edits).length > 0 && choice.has('logprobs')) edits['logprobs'] = 'null';
    choices.push(choice.with(edits));
  }
  return body.with({ choices: `[${choices.join(',')}]` });
}

/** An error of the parser would show the client what was never checked. */
function choiceOf(text: string, where: string): JsonObject {
  const choice = JsonObject.tryParse(text);
  if (choice === undefined) throw upstreamError('bad-answer', where, 'one of its choices is no object');
  return choice;
}

function eventOf(data: string): JsonObject {
  const body = JsonObject.tryParse(data);
  if (body === undefined) throw upstreamError('bad-answer', 'of the stream', 'one of its events is no JSON');
  return body;
}

async function checkFields(
  object: JsonObject,
  fields: readonly string[],
  guardrail: GatewayGuardrail,
): Promise<{ text: string; changed: boolean; blocked: boolean }> {
  const edits: Record<string, string> = {};
  let blocked = false;
  for (const field of fields) {
    const value = object.get(field);
    if (typeof value !== 'string') continue;
    const outcome = await guardrail.check(value, 'OUTPUT');
    if (outcome.action === 'blocked') blocked = true;
    if (outcome.action === 'blocked' || outcome.action === 'redacted')
      edits[field] = JSON.stringify(outcome.text);
  }
  return { text: object.with(edits), changed: Object.keys(edits).length > 0, blocked };
}

/** Text of one choice, held until it is whole. */
interface Held {
  /** The first event with text: the form of the one that is sent. */
  readonly template: JsonObject;
  readonly texts: Map<string, string>;
}

/**
 * A stream whose text is held back until each choice has finished and was checked; everything else passes. Text leaves
 * in one event a choice, without log-probabilities, which would spell out what was masked. A guardrail that only
 * annotates holds nothing back.
 */
export function checkedStream(source: BodySource, guardrail: GatewayGuardrail): BodySource {
  if (!guardrail.onlyAnnotates) return new StreamCheck(source, guardrail);
  return {
    consume: (consumer) => source.consume(new StreamWatch(source, consumer, guardrail)),
    resume: () => source.resume(),
    abort: (reason) => source.abort(reason),
  };
}

class StreamCheck implements BodySource, BodyConsumer {
  readonly #source: BodySource;
  readonly #guardrail: GatewayGuardrail;
  readonly #frames = new SseFrames();
  readonly #held = new Map<number, Held>();
  #consumer!: BodyConsumer;
  #heldCharacters = 0;
  /** Checks may take time; events wait for their turn. */
  #turn: Promise<void> = Promise.resolve();
  #isOver = false;
  /** What passes unchecked, such as calls of tools, must not pile up before a slow reader. */
  #isReaderBehind = false;

  constructor(source: BodySource, guardrail: GatewayGuardrail) {
    this.#source = source;
    this.#guardrail = guardrail;
  }

  consume(consumer: BodyConsumer): void {
    this.#consumer = consumer;
    this.#source.consume(this);
  }

  resume(): void {
    this.#isReaderBehind = false;
    this.#source.resume();
  }

  abort(reason: unknown): void {
    this.#source.abort(reason);
  }

  data(chunk: Uint8Array): boolean {
    let events: string[];
    try {
      events = this.#frames.push(chunk);
    } catch (error) {
      this.#fail(upstreamError('bad-answer', 'of the stream', 'it sent an event that is too long', error));
      return true;
    }
    if (events.length > 0) this.#then(() => this.#events(events));
    return !this.#isReaderBehind;
  }

  end(): void {
    this.#then(async () => {
      // Text whose choice never finished was never checked and is never shown.
      this.#isOver = true;
      this.#consumer.end();
    });
  }

  error(error: unknown): void {
    this.#then(async () => this.#fail(error));
  }

  #then(work: () => Promise<void>): void {
    this.#turn = this.#turn.then(async () => {
      if (this.#isOver) return;
      try {
        await work();
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#source.abort(error);
    this.#consumer.error(error);
  }

  async #events(events: readonly string[]): Promise<void> {
    let out = '';
    for (const event of events) {
      const data = eventData(event);
      const body = data === undefined || data === '[DONE]' ? undefined : eventOf(data);
      if (body === undefined || !Array.isArray(body.get('choices'))) {
        out += `${event}\n\n`;
        continue;
      }
      const parts: string[] = [];
      for (const raw of listElements(body.raw('choices')!)) parts.push(...(await this.#choice(body, raw)));
      const isEmpty = listElements(body.raw('choices')!).length === 0;
      if (isEmpty) out += `${event}\n\n`;
      else for (const part of parts) out += `data: ${part}\n\n`;
    }
    if (out !== '' && !this.#consumer.data(Buffer.from(out))) this.#isReaderBehind = true;
  }

  /** The events that a choice of an event becomes. */
  async #choice(body: JsonObject, raw: string): Promise<string[]> {
    const choice = choiceOf(raw, 'of the stream');
    const index = Number(choice.get('index') ?? 0);
    const deltaText = choice.raw('delta');
    const isChat = deltaText?.startsWith('{') === true;
    const holder = isChat ? JsonObject.parse(deltaText) : choice;
    const fields = isChat ? textFields : (['text'] as const);
    const blank: Record<string, string | undefined> = {};
    for (const field of fields) {
      const value = holder.get(field);
      if (typeof value !== 'string' || value === '') continue;
      this.#hold(index, body, raw, field, value);
      blank[field] = isChat ? undefined : '""';
    }
    const rest = holder.with(blank);
    const isFinished = typeof choice.get('finish_reason') === 'string';
    const hasRest = Object.keys(blank).length === 0 || isFinished || (isChat && !/^\{\s*\}$/.test(rest));
    const events: string[] = [];
    let blocked = false;
    if (isFinished) {
      const checked = await this.#release(index);
      blocked = checked.blocked;
      if (checked.event !== undefined) events.push(checked.event);
    }
    if (!hasRest) return events;
    const edits: Record<string, string> = isChat
      ? { delta: rest }
      : { text: JsonObject.parse(rest).raw('text') ?? '""' };
    if (choice.has('logprobs')) edits['logprobs'] = 'null';
    if (blocked) edits['finish_reason'] = '"content_filter"';
    // A completion's event without text of its own passes as it is.
    events.push(body.with({ choices: `[${choice.with(edits)}]` }));
    return events;
  }

  #hold(index: number, body: JsonObject, raw: string, field: string, value: string): void {
    this.#heldCharacters += value.length;
    if (this.#heldCharacters > maxHeldCharacters) throw tooLongToCheck();
    let held = this.#held.get(index);
    if (held === undefined) {
      held = {
        template: JsonObject.parse(body.with({ choices: `[${raw}]`, usage: undefined })),
        texts: new Map(),
      };
      this.#held.set(index, held);
    }
    held.texts.set(field, (held.texts.get(field) ?? '') + value);
  }

  async #release(index: number): Promise<{ event?: string; blocked: boolean }> {
    const held = this.#held.get(index);
    if (held === undefined) return { blocked: false };
    this.#held.delete(index);
    const texts: Record<string, string> = {};
    let blocked = false;
    for (const [field, text] of held.texts) {
      const outcome = await this.#guardrail.check(text, 'OUTPUT');
      if (outcome.action === 'blocked') blocked = true;
      const changed = outcome.action === 'blocked' || outcome.action === 'redacted';
      texts[field] = JSON.stringify(changed ? outcome.text : text);
    }
    const choice = JsonObject.parse(listElements(held.template.raw('choices')!)[0]!);
    const edits: Record<string, string> = { finish_reason: 'null' };
    if (choice.has('logprobs')) edits['logprobs'] = 'null';
    if (texts['text'] !== undefined) edits['text'] = texts['text'];
    else
      edits['delta'] = `{${Object.entries(texts)
        .map(([field, text]) => `"${field}":${text}`)
        .join(',')}}`;
    return { event: held.template.with({ choices: `[${choice.with(edits)}]` }), blocked };
  }
}
