import type { Usage } from '../backend.js';
import type { Clock } from '../clock.js';
import { ServingError } from '../errors.js';
import { errorCode, isErrorAnswer } from '../http/error-frame.js';
import type { GatewayObserver, RequestOutcome, WorkerRole } from '../observer.js';

/** Tells an observer of one request, in the order that `GatewayEvent` promises. */
export class RequestLog {
  readonly requestId: string;
  readonly observer: GatewayObserver;
  readonly #clock: Clock;
  #isFinished = false;
  #hasFirstByte = false;

  constructor(requestId: string, observer: GatewayObserver, clock: Clock) {
    this.requestId = requestId;
    this.observer = observer;
    this.#clock = clock;
  }

  received(request: {
    readonly route: string;
    readonly model: string;
    readonly stream: boolean;
    readonly keyId: string | undefined;
    readonly bodyBytes: number;
    readonly traceparent: string | undefined;
  }): void {
    const { keyId, traceparent, ...rest } = request;
    this.observer.observe({
      type: 'received',
      ...this.#head(),
      ...rest,
      ...(keyId !== undefined && { keyId }),
      ...(traceparent !== undefined && { traceparent }),
    });
  }

  routed(backend: string, worker: string, role: WorkerRole, attempt: number): void {
    this.observer.observe({ type: 'routed', ...this.#head(), backend, worker, role, attempt });
  }

  guarded(source: 'INPUT' | 'OUTPUT', action: 'annotated' | 'redacted' | 'blocked'): void {
    this.observer.observe({ type: 'guardrail', ...this.#head(), source, action });
  }

  firstByte(): void {
    if (this.#hasFirstByte) return;
    this.#hasFirstByte = true;
    this.observer.observe({ type: 'first-byte', ...this.#head() });
  }

  usage(usage: Usage | undefined): void {
    if (usage !== undefined) this.observer.observe({ type: 'usage', ...this.#head(), ...usage });
  }

  finished(status: number, outcome: RequestOutcome, code?: string, finishReason?: string): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.observer.observe({
      type: 'finished',
      ...this.#head(),
      status,
      outcome,
      ...(code !== undefined && { code }),
      ...(finishReason !== undefined && { finishReason }),
    });
  }

  /** The request ended with an error before its head was sent. */
  failed(error: unknown): void {
    const isTyped = ServingError.isInstance(error) || isErrorAnswer(error);
    const status = isTyped ? error.status : 500;
    this.finished(status, status < 500 ? 'refused' : 'failed', errorCode(error));
  }

  #head(): { requestId: string; atUs: number } {
    return { requestId: this.requestId, atUs: this.#clock.nowUs() };
  }
}
