import type { Backend, BackendEvent, GenerateRequest, ModelCard, TokenLogprob } from '../src/backend.js';
import { promptTooLong, queueFull, ServingError } from '../src/errors.js';

/** What a test can make {@link EchoBackend} do. */
export interface EchoOptions {
  /** Awaited before each delta. */
  readonly beforeDelta?: (index: number, signal: AbortSignal) => Promise<void>;
  /** Throw before token `failAt`. */
  readonly failAt?: number;
  readonly full?: boolean;
  /** Default 64. */
  readonly contextTokens?: number;
}

/**
 * A deterministic backend: one token is one character; the continuation of a prompt is the letters that follow its
 * last one, over and over. Same seed or not, same text.
 */
export class EchoBackend implements Backend {
  readonly name = 'echo';
  readonly seen: GenerateRequest[] = [];
  deltas = 0;
  aborted = 0;
  running = 0;
  readonly #options: EchoOptions;
  readonly #card: ModelCard;

  constructor(options: EchoOptions = {}) {
    this.#options = options;
    this.#card = { id: 'letters', contextTokens: options.contextTokens ?? 64 };
  }

  async models(): Promise<readonly ModelCard[]> {
    return [this.#card];
  }

  async *generate(
    request: GenerateRequest,
    { signal }: { signal: AbortSignal },
  ): AsyncGenerator<BackendEvent> {
    this.seen.push(request);
    if (this.#options.full === true) throw queueFull(3, 7);
    const prompt = promptText(request);
    const card = this.#card;
    if (prompt.length > card.contextTokens) throw promptTooLong(prompt.length, card.contextTokens, 'prompt');
    const room = Math.min(request.maxTokens ?? 8, card.contextTokens - prompt.length);
    this.running += 1;
    try {
      yield { type: 'start', promptTokens: prompt.length, ...(request.echo && { promptText: prompt }) };
      let text = '';
      for (let index = 0; index < room; index++) {
        await this.#options.beforeDelta?.(index, signal);
        if (signal.aborted) {
          this.aborted += 1;
          throw signal.reason;
        }
        if (this.#options.failAt === index) {
          throw new ServingError({
            code: 'serving/engine-failed',
            message: 'the engine broke',
            remedy: 'restart it',
          });
        }
        const letter = nextLetter(prompt + text);
        if (request.stop.includes(letter)) {
          yield finish('stop', prompt.length, index, letter);
          return;
        }
        text += letter;
        this.deltas += 1;
        yield {
          type: 'delta',
          text: letter,
          ...(request.logprobs !== undefined && { logprobs: [logprob(letter, request.logprobs)] }),
        };
      }
      yield finish('length', prompt.length, room);
    } finally {
      this.running -= 1;
    }
  }

  metrics() {
    return {
      runningRequests: this.running,
      waitingRequests: 0,
      decodeBatchSize: { bounds: [1, 8], counts: [2, 5], sum: 40, count: 6 },
      handoverBytes: 4096,
      handovers: 2,
      stages: [{ stage: 'decode', usedBlocks: 3, totalBlocks: 10 }],
    };
  }

  health() {
    return { status: 'ok' as const };
  }

  async close(): Promise<void> {}
}

function promptText(request: GenerateRequest): string {
  const { prompt } = request;
  if (prompt.type === 'text') return prompt.text;
  if (prompt.type === 'tokens') return String.fromCharCode(...prompt.ids);
  return prompt.messages.map((message) => message.content).join('');
}

function nextLetter(text: string): string {
  const last = text.charCodeAt(text.length - 1);
  return last >= 97 && last < 122 ? String.fromCharCode(last + 1) : 'a';
}

function logprob(letter: string, top: number): TokenLogprob {
  const entry = (token: string, value: number) => ({
    id: token.charCodeAt(0),
    token,
    bytes: [token.charCodeAt(0)],
    logprob: value,
  });
  return { ...entry(letter, -0.5), top: [entry(letter, -0.5), entry('?', -1)].slice(0, top) };
}

function finish(
  reason: 'stop' | 'length',
  promptTokens: number,
  completionTokens: number,
  stop?: string,
): BackendEvent {
  return {
    type: 'finish',
    reason,
    usage: { promptTokens, completionTokens, cachedTokens: 0 },
    ...(stop !== undefined && { stop }),
  };
}
