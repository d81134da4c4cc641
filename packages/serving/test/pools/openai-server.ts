import type { ServerResponse } from 'node:http';
import { EngineServer, type Fault, type Seen } from './engine-server.js';

/** Any OpenAI-compatible server. */
export class OpenAiServer extends EngineServer {
  /** Decides what goes wrong with the request of that number. */
  fault: (index: number, seen: Seen) => Fault | undefined = () => undefined;
  #count = 0;

  protected async answer(seen: Seen, response: ServerResponse, closed: AbortSignal): Promise<void> {
    const fault = this.fault(this.#count++, seen);
    await this.pause(closed, 1);
    if (closed.aborted) return;
    if (fault === 'reset') return this.reset(response);
    if (fault === 'error-500') return this.fail(response, 500, 'the engine broke');
    if (fault === 'overloaded') return this.fail(response, 429, 'too many requests');
    if (fault === 'error-400') return this.fail(response, 400, 'temperature must be non-negative');
    await this.generate(seen, response, closed, fault);
  }
}
