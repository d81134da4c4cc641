const signals = ['SIGINT', 'SIGTERM'] as const;

/** Where signals come from; `process`, or a stand-in. */
export interface SignalSource {
  /** Adds a listener. */
  on(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
  /** Removes it. */
  off(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
}

/** Options of {@link abortOnSignal}. */
export interface AbortOnSignalOptions {
  /** Ends the process at once, as the signal would have without a listener. */
  readonly force?: (signal: NodeJS.Signals) => void;
  /** A monotonic clock, in milliseconds. */
  readonly nowMs?: () => number;
}

/** Terminals signal the whole process group and package runners pass the signal on again: two signals, one wish. */
const echoMilliseconds = 1000;

/**
 * Turns SIGINT or SIGTERM into an abort, so that the command can end in order; another one, more than a second later,
 * ends the process at once.
 */
export function abortOnSignal(
  source: SignalSource,
  options: AbortOnSignalOptions = {},
): { signal: AbortSignal; dispose: () => void } {
  const { force = () => undefined, nowMs = () => performance.now() } = options;
  const controller = new AbortController();
  let firstMs: number | undefined;
  const listeners = signals.map((signal) => {
    const listener = () => {
      firstMs ??= nowMs();
      controller.abort();
      if (nowMs() - firstMs <= echoMilliseconds) return;
      dispose();
      force(signal);
    };
    source.on(signal, listener);
    return [signal, listener] as const;
  });
  const dispose = () => {
    for (const [signal, listener] of listeners) source.off(signal, listener);
  };
  return { signal: controller.signal, dispose };
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
