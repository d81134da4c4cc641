import type { SamplingPolicy, Tokenizer } from '@moestack/model';
import { AbortedError, MoestackError } from '@moestack/schemas/errors';
import type {
  BackendEvent,
  BackendHealth,
  BackendMetrics,
  GenerateRequest,
  ModelCard,
  SamplingRequest,
} from '../backend.js';
import { draining, promptTooLong, queueFull, ServingError, unknownModel } from '../errors.js';
import type { EngineSupervisor } from './engine-supervisor.js';
import type { StageExperts, StageRebalance } from './expert-balancer.js';
import type { EmbeddedBackend } from './options.js';
import { promptParam } from './prompt.js';
import type { PromptEncoder } from './prompt-encoder.js';
import { TextOutput } from './text-output.js';

/** What the model's generation_config.json says. */
export interface GenerationDefaults {
  readonly sampling: Required<SamplingRequest>;
  readonly maxNewTokens: number | undefined;
}

/** What an {@link EngineBackend} is made of. */
export interface EngineParts {
  readonly card: ModelCard;
  readonly tokenizer: Tokenizer;
  readonly encoder: PromptEncoder;
  readonly defaults: GenerationDefaults;
  readonly engine: EngineSupervisor;
  readonly randomSeed: () => number;
}

const retryAfterSeconds = 1;

/** The engine in this process, as a {@link Backend}. */
export class EngineBackend implements EmbeddedBackend {
  readonly name = 'embedded';
  readonly #parts: EngineParts;
  #closing: Promise<void> | undefined;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  get weightBytes(): number {
    return this.#parts.engine.weightBytes;
  }

  get restarts(): number {
    return this.#parts.engine.restarts;
  }

  async models(): Promise<readonly ModelCard[]> {
    return [this.#parts.card];
  }

  async *generate(
    request: GenerateRequest,
    options: { signal: AbortSignal },
  ): AsyncGenerator<BackendEvent, void> {
    const { signal } = options;
    const { card, tokenizer, encoder } = this.#parts;
    if (request.model !== card.id) throw unknownModel(request.model, [card.id]);
    if (signal.aborted) throw new AbortedError('the request', signal.reason);
    const prompt = await encoder.encode(request.prompt, signal);
    if (signal.aborted) throw new AbortedError('the request', signal.reason);
    const promptText = request.echo === true ? tokenizer.decode(prompt) : undefined;
    const scoresPrompt = request.echo === true && request.logprobs !== undefined;
    const room = this.#room(request, prompt.length);
    if (room === 0 && !scoresPrompt) {
      yield { type: 'start', promptTokens: prompt.length, ...(promptText !== undefined && { promptText }) };
      const usage = { promptTokens: prompt.length, completionTokens: 0, cachedTokens: 0 };
      yield { type: 'finish', reason: 'length', usage };
      return;
    }
    const { stop } = request;
    const output = new TextOutput({
      tokenizer,
      prompt,
      stop,
      promptOnly: room === 0,
      promptText,
      scoresPrompt,
    });
    const cancel = this.#submit(request, prompt, Math.max(1, room), output);
    const onAbort = () => {
      cancel();
      output.onError(new AbortedError('the request', signal.reason));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for (;;) {
        const event = await output.next();
        yield event;
        if (event.type === 'finish') return;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      cancel();
    }
  }

  metrics(): BackendMetrics {
    return this.#parts.engine.metrics();
  }

  experts(): Promise<readonly StageExperts[]> {
    return Promise.all(this.#parts.engine.balancers.map((balancer) => balancer.report()));
  }

  rebalance(): Promise<readonly StageRebalance[]> {
    return Promise.all(this.#parts.engine.balancers.map((balancer) => balancer.rebalance()));
  }

  health(): BackendHealth {
    const { failure, isRestarting } = this.#parts.engine;
    if (failure === undefined) {
      return isRestarting ? { status: 'ok', detail: 'a lost rank is being replaced' } : { status: 'ok' };
    }
    return { status: 'failed', detail: failure instanceof Error ? failure.message : String(failure) };
  }

  close(): Promise<void> {
    const { engine, encoder } = this.#parts;
    for (const balancer of engine.balancers) balancer.fail(draining());
    this.#closing ??= Promise.all([engine.close(draining()), encoder.close()]).then(() => undefined);
    return this.#closing;
  }

  /** New tokens that the request may have. */
  #room(request: GenerateRequest, promptTokens: number): number {
    const left = this.#parts.card.contextTokens - promptTokens;
    return Math.min(request.maxTokens ?? this.#parts.defaults.maxNewTokens ?? left, left);
  }

  #submit(request: GenerateRequest, prompt: Int32Array, maxNewTokens: number, sink: TextOutput): () => void {
    const { engine, card } = this.#parts;
    const logprobs = request.logprobs ?? -1;
    try {
      return engine.submit({
        prompt,
        maxNewTokens,
        setup: {
          capacity: prompt.length + maxNewTokens,
          promptTokens: prompt.length,
          sampling: this.#sampling(request),
          ignoreEos: request.ignoreEos === true,
          logprobs,
          promptLogprobs: request.echo === true ? logprobs : -1,
        },
        sink,
      });
    } catch (error) {
      if (ServingError.isInstance(error) || !MoestackError.isInstance(error)) throw unavailable(error);
      if (error.code === 'scheduler/queue-full') throw queueFull(engine.waiting, retryAfterSeconds);
      if (error.code === 'scheduler/too-long') {
        throw promptTooLong(prompt.length, card.contextTokens - 1, promptParam(request.prompt));
      }
      throw error;
    }
  }

  #sampling(request: GenerateRequest): SamplingPolicy {
    const { sampling } = this.#parts.defaults;
    return { ...sampling, ...request.sampling, seed: request.seed ?? this.#parts.randomSeed() };
  }
}

/** A failed engine takes nothing more; whoever balances load should go elsewhere. */
function unavailable(cause: unknown): unknown {
  if (!ServingError.isInstance(cause) || cause.status !== 500) return cause;
  return new ServingError({
    code: cause.code,
    message: cause.message,
    remedy: cause.remedy,
    status: 503,
    cause,
  });
}
