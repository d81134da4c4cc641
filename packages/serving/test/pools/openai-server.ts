import type { ServerResponse } from 'node:http';
import { EngineServer, type Seen } from './engine-server.js';

/** Any OpenAI-compatible server. */
export class OpenAiServer extends EngineServer {
  protected async answer(seen: Seen, response: ServerResponse, closed: AbortSignal): Promise<void> {
    const fault = this.nextFault(seen);
    await this.pause(closed, 1);
    if (closed.aborted) return;
    if (this.fails(fault, response)) return;
    await this.generate(seen, response, closed, fault);
  }
}
