import {
  createGateway,
  type GatewayEvent,
  type GatewayOptions,
  type Listening,
  listen,
} from '../../src/index.js';

/** A gateway that listens, with what it told its observer. */
export interface Running {
  readonly server: Listening;
  readonly events: GatewayEvent[];
  readonly errors: unknown[];
  post(
    path: string,
    body: object | string,
    init?: { signal?: AbortSignal; headers?: object },
  ): Promise<Response>;
  /** Waits for requests in flight, then ends server and backends. */
  close(): Promise<void>;
}

export async function gatewayOver(options: GatewayOptions): Promise<Running> {
  const events: GatewayEvent[] = [];
  const errors: unknown[] = [];
  const gateway = createGateway({
    ...options,
    observer: { observe: (event) => events.push(event) },
    onError: (error) => errors.push(error),
  });
  const server = await listen(gateway, { port: 0 });
  const backends = 'name' in options.backend ? [options.backend] : options.backend;
  return {
    server,
    events,
    errors,
    post: (path, body, init = {}) =>
      fetch(server.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...init.headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
        ...(init.signal && { signal: init.signal }),
      }),
    async close() {
      await server.close({ drainSeconds: 5 });
      await Promise.all(backends.map((backend) => backend.close()));
    },
  };
}

/** The data of a stream's events; throws unless it ends in exactly one `[DONE]`. */
export async function eventsOf(response: Response): Promise<Record<string, unknown>[]> {
  const text = await response.text();
  const events = text.split('\n\n').filter((event) => event !== '' && !event.startsWith(':'));
  if (!text.endsWith('data: [DONE]\n\n') || text.split('data: [DONE]').length !== 2) {
    throw new Error(`the stream does not end in [DONE]: ${text.slice(-200)}`);
  }
  return events
    .slice(0, -1)
    .map((event) => JSON.parse(event.replace(/^data: /, '')) as Record<string, unknown>);
}

/** Text and last finish reason of choice `index` of a streamed chat. */
export function chatText(events: readonly Record<string, unknown>[], index = 0): string {
  return events
    .flatMap(
      (event) => (event['choices'] as { index: number; delta: { content?: string } }[] | undefined) ?? [],
    )
    .filter((choice) => choice.index === index)
    .map((choice) => choice.delta.content ?? '')
    .join('');
}
