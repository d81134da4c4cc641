const signals = ['SIGINT', 'SIGTERM'] as const;

/** Where signals come from; `process`, or a stand-in. */
export interface SignalSource {
  on(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
  off(signal: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
}

/**
 * Turns the first SIGINT or SIGTERM into an abort, so that the command can end in order; a second one ends the process
 * as if it had never been caught.
 */
export function abortOnSignal(source: SignalSource): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const dispose = () => {
    for (const signal of signals) source.off(signal, listener);
  };
  const listener = () => {
    dispose();
    controller.abort();
  };
  for (const signal of signals) source.on(signal, listener);
  return { signal: controller.signal, dispose };
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
