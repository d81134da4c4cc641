import { Worker } from 'node:worker_threads';
import type { Tokenizer } from '@moestack/model';
import { AbortedError, decodeError } from '@moestack/schemas/errors';
import type { Prompt } from '../backend.js';
import { queueFull, ServingError } from '../errors.js';
import { encodePrompt, type PromptLimits } from './prompt.js';
import type { FromEncoder, ToEncoder, WorkerSetup } from './protocol.js';
import { workerFile } from './worker-file.js';

/** Texts up to here take a few milliseconds at most, less than a message there and back is worth. */
const inlineCharacters = 4096;

interface Waiting {
  readonly resolve: (ids: Int32Array) => void;
  readonly reject: (error: unknown) => void;
}

/** Options of a {@link PromptEncoder}. */
export interface PromptEncoderOptions {
  readonly directory: string;
  readonly tokenizer: Tokenizer;
  readonly limits: PromptLimits;
  /** Most long prompts that wait; more are refused. */
  readonly maxWaiting: number;
}

/** Encodes prompts: short ones at once, long ones in a thread of their own, so that HTTP never waits for them. */
export class PromptEncoder {
  readonly #options: PromptEncoderOptions;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #next = 0;

  constructor(options: PromptEncoderOptions) {
    this.#options = options;
  }

  /** @throws {@link ServingError} 400, or 429 when too many long prompts wait; {@link AbortedError}. */
  async encode(prompt: Prompt, signal: AbortSignal): Promise<Int32Array> {
    const { tokenizer, limits, maxWaiting } = this.#options;
    if (characters(prompt) <= inlineCharacters) return encodePrompt(prompt, tokenizer, limits);
    if (this.#waiting.size > maxWaiting) throw queueFull(this.#waiting.size, 1);
    const id = this.#next++;
    const onAbort = () => this.#waiting.get(id)?.reject(new AbortedError('the request', signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await new Promise<Int32Array>((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        const message: ToEncoder = { id, prompt };
        this.#start().postMessage(message);
      });
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#waiting.delete(id);
    }
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const { directory, limits } = this.#options;
    const setup: WorkerSetup = { kind: 'encoder', directory, limits };
    const worker = new Worker(workerFile(), { name: 'moestack-encoder', workerData: setup, execArgv: [] });
    worker.unref();
    worker.on('message', (message: FromEncoder) => this.#receive(message));
    worker.on('error', (cause) => this.#lost(cause));
    worker.on('exit', () => this.#lost(undefined));
    this.#worker = worker;
    return worker;
  }

  #receive(message: FromEncoder): void {
    const waiting = this.#waiting.get(message.id);
    if (message.type === 'encoded') waiting?.resolve(message.ids);
    else if (message.type === 'refused') waiting?.reject(new ServingError(message.options));
    else waiting?.reject(decodeError(message.error));
  }

  /** The next long prompt starts a new thread. */
  #lost(cause: unknown): void {
    this.#worker = undefined;
    const error = new ServingError({
      code: 'serving/encoder-failed',
      message: 'the thread that encodes long prompts ended',
      remedy: 'send the request again',
      cause,
    });
    for (const waiting of this.#waiting.values()) waiting.reject(error);
  }
}

function characters(prompt: Prompt): number {
  if (prompt.type === 'text') return prompt.text.length;
  // Ids need a range check only.
  if (prompt.type === 'tokens') return 0;
  let total = 0;
  for (const message of prompt.messages) total += message.content.length + 16;
  return total;
}
