import type { SamplingPolicy, Tokenizer } from '@moestack/model';
import type { AdmissionDecision } from '@moestack/scheduler';
import { AbortedError, MoestackError } from '@moestack/schemas/errors';
import type {
  BackendEvent,
  BackendHealth,
  BackendMetrics,
  GenerateRequest,
  ModelCard,
  SamplingRequest,
} from '../backend.js';
import { draining, promptTooLong, queueFull, ServingError, sloMissed, unknownModel } from '../errors.js';
import type { EngineMonitor } from './engine-monitor.js';
import type { EngineStats } from './engine-stats.js';
import type { EngineSupervisor } from './engine-supervisor.js';
import type { StageExperts, StageRebalance } from './expert-balancer.js';
import { MeteredSink } from './metered-sink.js';
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
  readonly name: string;
  readonly card: ModelCard;
  readonly tokenizer: Tokenizer;
  readonly encoder: PromptEncoder;
  readonly defaults: GenerationDefaults;
  readonly engine: EngineSupervisor;
  readonly monitor: EngineMonitor;
  readonly randomSeed: () => number;
}

const retryAfterSeconds = 1;

/** The engine in this process, as a {@link Backend}. */
export class EngineBackend implements EmbeddedBackend {
  readonly name: string;
  readonly #parts: EngineParts;
  #closing: Promise<void> | undefined;

  constructor(parts: EngineParts) {
    this.name = parts.name;
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

  stats(): EngineStats {
    const { engine, monitor } = this.#parts;
    const experts = engine.experts.map((balancer) => balancer.stats());
    return {
      ...monitor.figures(),
      ...engine.inspect(),
      experts: experts.filter((stage) => stage !== undefined),
    };
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
    for (const balancer of engine.experts) balancer.fail(draining());
    this.#closing ??= Promise.all([engine.close(draining()), encoder.close()]).then(() => undefined);
    return this.#closing;
  }

  /** New tokens that the request may have. */
  #room(request: GenerateRequest, promptTokens: number): number {
    const left = this.#parts.card.contextTokens - promptTokens;
    return Math.min(request.maxTokens ?? this.#parts.defaults.maxNewTokens ?? left, left);
  }

  #submit(
    request: GenerateRequest,
    prompt: Int32Array,
    maxNewTokens: number,
    output: TextOutput,
  ): () => void {
    const { engine, monitor } = this.#parts;
    const decision = this.#decide(request, prompt, maxNewTokens);
    const granted = decision?.maxNewTokens ?? maxNewTokens;
    const priority = decision?.priority ?? request.priority ?? 0;
    const logprobs = request.logprobs ?? -1;
    const sink = new MeteredSink(output, monitor, {
      promptTokens: prompt.length,
      maxNewTokens: granted,
      decision,
    });
    try {
      const cancel = engine.submit({
        prompt,
        maxNewTokens: granted,
        priority,
        ...(request.tenant && { tenant: request.tenant }),
        setup: {
          capacity: prompt.length + granted,
          promptTokens: prompt.length,
          sampling: this.#sampling(request),
          ignoreEos: request.ignoreEos === true,
          logprobs,
          promptLogprobs: request.echo === true ? logprobs : -1,
        },
        sink,
      });
      monitor.accept(decision);
      return () => {
        sink.cancel();
        cancel();
      };
    } catch (error) {
      throw this.#refusal(error, request, prompt);
    }
  }

  /**
   * Whether the request would get its tokens in time; undefined during a restart, when nobody can say.
   *
   * @throws ServingError 429 if it would not and the policy is to refuse it.
   */
  #decide(request: GenerateRequest, prompt: Int32Array, maxNewTokens: number): AdmissionDecision | undefined {
    const { engine, monitor } = this.#parts;
    const load = engine.load();
    if (load === undefined || engine.failure !== undefined) return undefined;
    const decision = monitor.decide(load, {
      promptTokens: prompt.length,
      // Looked up only where it may decide: names of prefixes cost a hash of the prompt.
      cachedTokens: monitor.hasTargets ? engine.cachedTokensOf(prompt, request.tenant?.id) : 0,
      maxNewTokens,
      priority: request.priority ?? 0,
    });
    if (decision.action !== 'reject') return decision;
    const { reason, predictedTtftUs, predictedTpotUs } = decision;
    const predictedUs = reason === 'ttft' ? predictedTtftUs : predictedTpotUs;
    throw sloMissed(reason!, predictedUs / 1e6, Math.max(1, Math.ceil(decision.retryAfterUs / 1e6)));
  }

  /** What a client is told about an engine that takes no request, or not this one. */
  #refusal(error: unknown, request: GenerateRequest, prompt: Int32Array): unknown {
    const { engine, card, monitor } = this.#parts;
    if (ServingError.isInstance(error) || !MoestackError.isInstance(error)) return unavailable(error);
    if (error.code === 'scheduler/queue-full') {
      monitor.refuse('queue');
      return queueFull(engine.waiting, retryAfterSeconds);
    }
    if (error.code === 'scheduler/too-long') {
      return promptTooLong(prompt.length, card.contextTokens - 1, promptParam(request.prompt));
    }
    return error;
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
