import { AbortedError } from '@moestack/schemas/errors';
import { CollectivesError, CollectivesTimeoutError, PeerFailureError } from '../errors.js';
import { checkFit } from '../schedule/fit-links.js';
import { defaultLinkFit, type LinkFit } from '../schedule/link-fit.js';
import { decodeNumbers, encodeNumbers } from './agreement.js';
import { allocateArray, releaseArray } from './buffers.js';
import type { Communicator, Plan, PlanRequest, RunOptions, WaitOptions } from './communicator.js';
import { ControlQueue, type ControlTicket } from './control-queue.js';
import type { TrafficCounters } from './counters.js';
import type { Dtype, DtypeArray } from './dtype.js';
import { OneShot } from './one-shot.js';
import type { PlanBody, PlanHost } from './plan.js';
import { Planner } from './planner.js';
import { checkSplit, SplitExchange } from './split.js';
import type { Topology } from './topology.js';
import type { Transport } from './transport.js';
import { blockUntil, type Waitable, waitUntil } from './waiting.js';

/** Options of {@link createCommunicator}. */
export interface CommunicatorOptions {
  /** How long an operation may wait before it fails; default 5. */
  readonly timeoutSeconds?: number;
  /** What `auto` chooses by; default `defaultLinkFit`. Must be the same on every rank. See `measureLinks`. */
  readonly fit?: LinkFit;
}

const DEFAULT_TIMEOUT_SECONDS = 5;

/** A {@link Communicator} over a transport; what the launchers of each transport return. */
export function createCommunicator(transport: Transport, options: CommunicatorOptions = {}): Communicator {
  return new TransportCommunicator(transport, options);
}

class TransportCommunicator extends OneShot implements Communicator, PlanHost {
  readonly transport: Transport;
  readonly timeoutSeconds: number;
  #fit: LinkFit;
  readonly #control = new ControlQueue();
  readonly #planner: Planner;
  #broken: Error | undefined;

  constructor(transport: Transport, options: CommunicatorOptions) {
    super();
    this.transport = transport;
    this.timeoutSeconds = options.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS;
    if (!(this.timeoutSeconds > 0)) {
      throw new CollectivesError({
        code: 'collectives/bad-config',
        message: `expected timeoutSeconds above 0, got ${this.timeoutSeconds}`,
        value: this.timeoutSeconds,
        remedy: 'pass seconds',
      });
    }
    this.#fit = checkFit(options.fit ?? defaultLinkFit);
    this.#planner = new Planner(this, this.#control);
  }

  get rank(): number {
    return this.transport.rank;
  }

  get size(): number {
    return this.transport.size;
  }

  get topology(): Topology {
    return this.transport.topology;
  }

  fit(): LinkFit {
    return this.#fit;
  }

  setFit(fit: LinkFit): void {
    this.#fit = checkFit(fit);
  }

  counters(): TrafficCounters {
    return this.transport.counters;
  }

  broken(): Error | undefined {
    return this.#broken;
  }

  report(error: unknown): void {
    const breaks =
      PeerFailureError.isInstance(error) ||
      CollectivesTimeoutError.isInstance(error) ||
      error instanceof AbortedError ||
      (CollectivesError.isInstance(error) && error.code === 'collectives/native');
    if (!breaks || this.#broken !== undefined) return;
    this.#broken = error as Error;
    this.#control.fail(error);
  }

  forget(plan: PlanBody): void {
    this.#planner.forget(plan);
  }

  allocate(dtype: 'f32', length: number): Float32Array;
  allocate(dtype: 'i32', length: number): Int32Array;
  allocate(dtype: 'bf16' | 'f16', length: number): Uint16Array;
  allocate(dtype: 'u8', length: number): Uint8Array;
  allocate(dtype: Dtype, length: number): DtypeArray;
  allocate(dtype: Dtype, length: number): DtypeArray {
    return allocateArray(this.transport, dtype, length);
  }

  release(array: DtypeArray): void {
    releaseArray(this.transport, array);
  }

  plan(request: PlanRequest, options?: RunOptions): Plan {
    this.#checkUsable();
    const plan = this.#planner.prepare(request);
    try {
      if (this.transport.canBlock) plan.agreeBlocking(options);
      else plan.poll();
    } catch (error) {
      plan.close();
      throw error;
    }
    return plan;
  }

  async planAsync(request: PlanRequest, options?: WaitOptions): Promise<Plan> {
    this.#checkUsable();
    const plan = this.#planner.prepare(request);
    try {
      await plan.agree(options);
    } catch (error) {
      plan.close();
      throw error;
    }
    return plan;
  }

  /** Collective: every rank learns the numbers of every rank. */
  exchange(values: ArrayLike<number>): ControlTicket<readonly Uint8Array[], readonly Float64Array[]> {
    this.#checkUsable();
    const payload = encodeNumbers(values);
    return this.#control.add(() => this.transport.agree(payload), decodeNumbers);
  }

  async split(color: number, key = 0, options?: WaitOptions): Promise<Communicator | undefined> {
    const exchange = this.#colors(color, key);
    await this.#wait('split', exchange, options);
    const ticket = this.#group(exchange.members());
    await this.#wait('split', ticket, options);
    return ticket.result();
  }

  splitSync(color: number, key = 0, options?: RunOptions): Communicator | undefined {
    const exchange = this.#colors(color, key);
    this.#block('split', exchange, options);
    const ticket = this.#group(exchange.members());
    this.#block('split', ticket, options);
    return ticket.result();
  }

  async dup(options?: WaitOptions): Promise<Communicator> {
    const ticket = this.#group(this.#everyone());
    await this.#wait('dup', ticket, options);
    return ticket.result() as Communicator;
  }

  dupSync(options?: RunOptions): Communicator {
    const ticket = this.#group(this.#everyone());
    this.#block('dup', ticket, options);
    return ticket.result() as Communicator;
  }

  async shrink(options?: WaitOptions): Promise<Communicator> {
    const pending = this.transport.shrink();
    const timeoutSeconds = options?.timeoutSeconds ?? this.timeoutSeconds;
    await waitUntil(this.transport, 'shrink', pending, { ...options, timeoutSeconds, tolerateFailure: true });
    return this.#child(pending.result());
  }

  shrinkSync(options?: RunOptions): Communicator {
    const pending = this.transport.shrink();
    blockUntil(this.transport, 'shrink', pending, options?.timeoutSeconds ?? this.timeoutSeconds, true);
    return this.#child(pending.result());
  }

  close(): void {
    if (this.#broken !== undefined && isClosed(this.#broken)) return;
    this.#broken = new CollectivesError({
      code: 'collectives/closed',
      message: 'the communicator is closed',
      remedy: 'make a new one',
    });
    this.#control.fail(this.#broken);
    this.#planner.closeAll();
    this.transport.close();
  }

  #colors(color: number, key: number): SplitExchange {
    try {
      checkSplit(color, key);
    } catch (error) {
      this.refuse(error);
      throw error;
    }
    return new SplitExchange(this.exchange([color, key]), this.rank);
  }

  refuse(error: unknown): void {
    this.#planner.refuse(error);
  }

  #everyone(): number[] {
    return Array.from({ length: this.size }, (_, rank) => rank);
  }

  #group(members: readonly number[]): ControlTicket<Transport | undefined, Communicator | undefined> {
    this.#checkUsable();
    return this.#control.add(
      () => this.transport.split(members),
      (transport) => (transport === undefined ? undefined : this.#child(transport)),
    );
  }

  #child(transport: Transport): Communicator {
    return new TransportCommunicator(transport, { timeoutSeconds: this.timeoutSeconds, fit: this.#fit });
  }

  #checkUsable(): void {
    if (this.#broken !== undefined) throw this.#broken;
  }

  async #wait(what: string, waitable: Waitable, options?: WaitOptions): Promise<void> {
    const timeoutSeconds = options?.timeoutSeconds ?? this.timeoutSeconds;
    try {
      await waitUntil(this.transport, what, waitable, { ...options, timeoutSeconds });
    } catch (error) {
      this.report(error);
      throw error;
    }
  }

  /** Waits for a control operation of the promise methods. */
  waitFor(what: string, waitable: Waitable, options?: WaitOptions): Promise<void> {
    return this.#wait(what, waitable, options);
  }

  #block(what: string, waitable: Waitable, options?: RunOptions): void {
    try {
      blockUntil(this.transport, what, waitable, options?.timeoutSeconds ?? this.timeoutSeconds);
    } catch (error) {
      this.report(error);
      throw error;
    }
  }
}

function isClosed(error: Error): boolean {
  return CollectivesError.isInstance(error) && error.code === 'collectives/closed';
}
