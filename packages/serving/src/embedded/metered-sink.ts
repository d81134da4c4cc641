import type { TokenLogprobs } from '@moestack/model';
import type { AdmissionDecision } from '@moestack/scheduler';
import type { EngineMonitor, RequestEnd } from './engine-monitor.js';
import type { EndReason, TokenSink } from './running.js';

/** Passes tokens on and tells a monitor when they came. */
export class MeteredSink implements TokenSink {
  readonly #sink: TokenSink;
  readonly #monitor: EngineMonitor;
  readonly #request: {
    readonly promptTokens: number;
    readonly maxNewTokens: number;
    readonly decision: AdmissionDecision | undefined;
  };
  readonly #arrivalUs: number;
  #firstUs: number | undefined;
  #lastUs: number | undefined;
  #tokens = 0;
  #isAdmitted = false;
  #ended = false;

  constructor(
    sink: TokenSink,
    monitor: EngineMonitor,
    request: { promptTokens: number; maxNewTokens: number; decision: AdmissionDecision | undefined },
  ) {
    this.#sink = sink;
    this.#monitor = monitor;
    this.#request = request;
    this.#arrivalUs = monitor.clock.nowUs();
  }

  onAdmitted(cachedTokens: number): void {
    // A request that goes on in another engine is admitted again.
    if (this.#isAdmitted) return;
    this.#isAdmitted = true;
    this.#monitor.admitted(this.#request.promptTokens, cachedTokens);
    this.#sink.onAdmitted?.(cachedTokens);
  }

  onToken(token: number, logprobs: TokenLogprobs | undefined): boolean {
    this.#count();
    return this.#sink.onToken(token, logprobs);
  }

  onPromptLogprobs(position: number, logprobs: TokenLogprobs): void {
    this.#sink.onPromptLogprobs(position, logprobs);
  }

  onEnd(reason: EndReason): void {
    if (reason === 'eos') this.#count();
    this.#end('finished');
    this.#sink.onEnd(reason);
  }

  onError(error: unknown): void {
    this.#end('failed');
    this.#sink.onError(error);
  }

  /** The client has left; nothing happens if the request has ended. */
  cancel(): void {
    this.#end('cancelled');
  }

  #count(): void {
    const nowUs = this.#monitor.clock.nowUs();
    this.#monitor.token(nowUs, this.#lastUs === undefined ? undefined : nowUs - this.#lastUs);
    if (this.#firstUs === undefined) {
      this.#firstUs = nowUs;
      this.#monitor.firstToken(nowUs - this.#arrivalUs);
    }
    this.#lastUs = nowUs;
    this.#tokens++;
  }

  #end(end: RequestEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    const first = this.#firstUs;
    this.#monitor.ended({
      end,
      ttftUs: first === undefined ? undefined : first - this.#arrivalUs,
      tpotUs:
        first === undefined || this.#tokens < 2 ? undefined : (this.#lastUs! - first) / (this.#tokens - 1),
      generatedTokens: this.#tokens,
      maxNewTokens: this.#request.maxNewTokens,
      decision: this.#request.decision,
    });
  }
}
