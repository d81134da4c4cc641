import type { DashboardEvents } from '../protocol.js';
import { SseParser, type StreamEvent } from './sse-parser.js';

/** State of the connection to the server. */
export type ConnectionState = 'connecting' | 'live' | 'lost' | 'locked';

/** What {@link followEvents} tells. */
export interface EventListeners {
  readonly onEvent: <K extends keyof DashboardEvents>(name: K, data: DashboardEvents[K]) => void;
  readonly onState: (state: ConnectionState, retrySeconds: number) => void;
}

/** The server sends something every second; after this long the connection is dead. */
const silenceMs = 15_000;
const firstRetryMs = 1000;
const longestRetryMs = 15_000;

/** The chunks of a response as text. */
export async function* textChunks(response: Response): AsyncGenerator<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    // Not awaited: after a failure there is nobody to answer.
    reader.cancel().catch(() => undefined);
  }
}

/** The events of a response. */
export async function* streamEvents(response: Response): AsyncGenerator<StreamEvent> {
  const parser = new SseParser();
  for await (const text of textChunks(response)) yield* parser.push(text);
}

/**
 * Follows the server's events and connects again when the connection is lost, later each time.
 *
 * `fetch` and not `EventSource`, which cannot send an Authorization header.
 *
 * @param key - the key to send, read anew for each connection.
 * @returns a function that connects at once, with the key that holds by then.
 */
export function followEvents(key: () => string, listeners: EventListeners): () => void {
  let retryMs = firstRetryMs;
  let wake: (() => void) | undefined;
  let isPending = false;
  let current = new AbortController();
  const connectNow = () => {
    isPending = true;
    retryMs = firstRetryMs;
    current.abort();
    wake?.();
  };
  const connectOnce = async (): Promise<ConnectionState> => {
    current = new AbortController();
    const { signal } = current;
    let watch = setTimeout(() => current.abort(), silenceMs);
    try {
      const response = await fetch('dashboard/events', { headers: authorization(key()), signal });
      if (response.status === 401 || response.status === 403) return 'locked';
      if (!response.ok) return 'lost';
      retryMs = firstRetryMs;
      listeners.onState('live', 0);
      for await (const { name, data } of streamEvents(response)) {
        clearTimeout(watch);
        watch = setTimeout(() => current.abort(), silenceMs);
        listeners.onEvent(name as keyof DashboardEvents, JSON.parse(data));
      }
      return 'lost';
    } catch {
      return 'lost';
    } finally {
      clearTimeout(watch);
    }
  };
  const run = async () => {
    for (;;) {
      isPending = false;
      const state = await connectOnce();
      if (isPending) continue;
      listeners.onState(state, retryMs / 1000);
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (state === 'lost') setTimeout(resolve, retryMs);
      });
      wake = undefined;
      retryMs = Math.min(longestRetryMs, retryMs * 2);
      listeners.onState('connecting', 0);
    }
  };
  listeners.onState('connecting', 0);
  void run();
  addEventListener('online', connectNow);
  return connectNow;
}

/** The header that brings a key along. */
export function authorization(key: string): Record<string, string> {
  return key === '' ? {} : { authorization: `Bearer ${key}` };
}
