import type { ServerResponse } from 'node:http';
import { type EngineOptions, EngineServer, exactJson, type Seen } from './engine-server.js';

/** A rendezvous of the two legs of one item. */
interface Room {
  text: string;
  prefill: boolean;
  decode: boolean;
  meet: () => void;
  readonly met: Promise<void>;
}

class Bootstrap {
  readonly rooms = new Map<string, Room>();
  readonly known = new Map<string, Set<string>>();

  enter(name: string, leg: 'prefill' | 'decode', text: string): Room {
    let room = this.rooms.get(name);
    if (room === undefined) {
      let meet!: () => void;
      const met = new Promise<void>((resolve) => {
        meet = resolve;
      });
      room = { text, prefill: false, decode: false, meet, met };
      this.rooms.set(name, room);
    }
    room[leg] = true;
    if (room.prefill && room.decode) room.meet();
    return room;
  }
}

class SglangServer extends EngineServer {
  readonly ranks: number[] = [];
  readonly #leg: 'prefill' | 'decode';
  readonly #bootstrap: Bootstrap;
  readonly #port: number;

  constructor(leg: 'prefill' | 'decode', bootstrap: Bootstrap, options: EngineOptions, port: number) {
    super({ ...options, flatErrors: true });
    this.#leg = leg;
    this.#bootstrap = bootstrap;
    this.#port = port;
  }

  protected async answer(seen: Seen, response: ServerResponse, closed: AbortSignal): Promise<void> {
    const exact = exactJson(seen.text) as Record<string, unknown>;
    const annotation = exact['bootstrap_room'];
    if (annotation === undefined) {
      return this.reject(response, 'Disaggregated request received without bootstrap room id');
    }
    const prompts =
      Array.isArray(exact['prompt']) && typeof seen.body['prompt'] === 'object' ? exact['prompt'] : [0];
    const isIds = typeof prompts[0] === 'string' && prompts[0].startsWith('#');
    const isList = (Array.isArray(exact['prompt']) && !isIds) || Number(seen.body['n'] ?? 1) > 1;
    const items = (isIds ? 1 : prompts.length) * Number(seen.body['n'] ?? 1);
    const rooms = (Array.isArray(annotation) ? annotation : [annotation]).map((room) =>
      String(room).slice(1),
    );
    if (Array.isArray(annotation) !== isList || rooms.length !== items) {
      return this.reject(response, `${rooms.length} rooms for ${items} items`);
    }
    for (const field of ['bootstrap_host', 'bootstrap_port']) {
      const value = exact[field];
      const values = Array.isArray(value) ? value : [value];
      const wanted = field === 'bootstrap_host' ? '127.0.0.1' : `#${this.#port}`;
      if (values.length !== items || values.some((one) => one !== wanted)) {
        return this.reject(response, `${field} is ${JSON.stringify(value)}`);
      }
    }
    for (const room of rooms) {
      if (!/^\d+$/.test(room) || BigInt(room) >= 1n << 63n) return this.reject(response, `bad room ${room}`);
      const legs = this.#bootstrap.known.get(room) ?? new Set();
      if (legs.has(this.#leg)) return this.reject(response, `the room ${room} was used twice`);
      this.#bootstrap.known.set(room, legs.add(this.#leg));
      if (this.#leg === 'prefill') this.ranks.push(Number(BigInt(room) % 4n));
    }
    const fault = this.nextFault(seen);
    if (this.fails(fault, response)) return;
    const entered = rooms.map((name) => this.#bootstrap.enter(name, this.#leg, seen.text));
    for (const room of entered) {
      if (room.text !== seen.text) this.violations.push('the legs have different bodies');
    }
    try {
      await Promise.race([
        Promise.all(entered.map((room) => room.met)),
        new Promise((resolve) => closed.addEventListener('abort', resolve)),
      ]);
      if (closed.aborted) return;
      await this.pause(closed, 2);
      if (closed.aborted) return;
      await this.generate(seen, response, closed, fault);
    } finally {
      for (const [index, room] of entered.entries()) {
        room[this.#leg] = false;
        if (!room.prefill && !room.decode) this.#bootstrap.rooms.delete(rooms[index]!);
      }
    }
  }
}

/** A prefill and a decode server of SGLang. Neither goes on before both have come to the same room. */
export class SglangPair {
  readonly #bootstrap = new Bootstrap();
  readonly prefill: SglangServer;
  readonly decode: SglangServer;

  constructor(options: EngineOptions = {}, bootstrapPort = 8998) {
    this.prefill = new SglangServer('prefill', this.#bootstrap, options, bootstrapPort);
    this.decode = new SglangServer('decode', this.#bootstrap, options, bootstrapPort);
  }

  async start(): Promise<this> {
    await Promise.all([this.prefill.start(), this.decode.start()]);
    return this;
  }

  async stop(): Promise<void> {
    await Promise.all([this.prefill.stop(), this.decode.stop()]);
  }

  /** Rooms in which somebody waits. */
  get openRooms(): number {
    return this.#bootstrap.rooms.size;
  }

  get violations(): readonly string[] {
    return [...this.prefill.violations, ...this.decode.violations];
  }

  get running(): number {
    return this.prefill.running + this.decode.running;
  }
}
