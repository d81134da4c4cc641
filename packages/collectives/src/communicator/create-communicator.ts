import { AbortedError } from '@moestack/schemas/errors';
import { CollectivesError, CollectivesTimeoutError, PeerFailureError } from '../errors.js';
import { defaultLinkFit, type LinkFit } from '../schedule/link-fit.js';
import {
  compareProposals,
  decodeNumbers,
  encodeNumbers,
  encodeProposal,
  encodeRefusal,
} from './agreement.js';
import type { Communicator, Plan, PlanRequest, RunOptions, WaitOptions } from './communicator.js';
import { compile } from './compile.js';
import { ControlQueue, type ControlTicket } from './control-queue.js';
import type { TrafficCounters } from './counters.js';
import { bytesPerElement, type Dtype, type DtypeArray, viewAs } from './dtype.js';
import { OneShot } from './one-shot.js';
import { aliasing, type CollectiveRequest, checkBuffer, dtypes, normalize, rankOf } from './operation.js';
import { type Agreement, bytesOf, PlanBody, type PlanHost } from './plan.js';
import { ReceiveRunner, SendRunner } from './point-to-point-runner.js';
import type { Runner } from './runner.js';
import { checkSplit, SplitExchange } from './split.js';
import type { Topology } from './topology.js';
import type { Transport } from './transport.js';
import { blockUntil, type Waitable, waitUntil } from './waiting.js';

/** Options of {@link createCommunicator}. */
export interface CommunicatorOptions {
  /** How long an operation may wait before it fails; default 5. */
  readonly timeoutSeconds?: number;
  /** What `auto` chooses by; default {@link defaultLinkFit}. Must be the same on every rank. See {@link measureLinks}. */
  readonly fit?: LinkFit;
}

const DEFAULT_TIMEOUT_SECONDS = 5;
/** Tags of send and receive: the highest ones of the transport. */
const POINT_TO_POINT_TAGS = 256;

/** A {@link Communicator} over a transport; what the launchers of each transport return. */
export function createCommunicator(transport: Transport, options: CommunicatorOptions = {}): Communicator {
  return new TransportCommunicator(transport, options);
}

const noCounts = new Int32Array(0);

class TransportCommunicator extends OneShot implements Communicator, PlanHost {
  readonly transport: Transport;
  readonly timeoutSeconds: number;
  readonly #fit: LinkFit;
  readonly #control = new ControlQueue();
  readonly #plans = new Set<PlanBody>();
  readonly #pointToPoint = new Set<string>();
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
    this.#fit = options.fit ?? defaultLinkFit;
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
    this.#plans.delete(plan);
  }

  allocate(dtype: 'f32', length: number): Float32Array;
  allocate(dtype: 'i32', length: number): Int32Array;
  allocate(dtype: 'bf16' | 'f16', length: number): Uint16Array;
  allocate(dtype: 'u8', length: number): Uint8Array;
  allocate(dtype: Dtype, length: number): DtypeArray;
  allocate(dtype: Dtype, length: number): DtypeArray {
    if (!dtypes.includes(dtype) || !Number.isSafeInteger(length) || length < 0) {
      throw new CollectivesError({
        code: 'collectives/bad-shape',
        message: `expected one of ${dtypes.join(', ')} and a whole number of elements, got ${dtype}, ${length}`,
        value: length,
        remedy: 'pass a dtype and a length',
      });
    }
    if (length === 0) return viewAs(dtype, new Uint8Array(0));
    return viewAs(dtype, this.transport.allocate(length * bytesPerElement(dtype)));
  }

  release(array: DtypeArray): void {
    if (array.byteLength > 0) this.transport.release(bytesOf(array));
  }

  plan(request: PlanRequest, options?: RunOptions): Plan {
    const plan = this.#prepare(request);
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
    const plan = this.#prepare(request);
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
    for (const plan of [...this.#plans]) plan.close();
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

  /** The others must not wait for a rank that rejects its own arguments. */
  refuse(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#control.add(
      () => this.transport.agree(encodeRefusal(reason)),
      () => undefined,
    );
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

  #prepare(request: PlanRequest): PlanBody {
    this.#checkUsable();
    return isPointToPoint(request) ? this.#preparePointToPoint(request) : this.#prepareCollective(request);
  }

  #prepareCollective(request: CollectiveRequest): PlanBody {
    const owned: DtypeArray[] = [];
    try {
      const operation = normalize(request, this.rank, this.size);
      const { dtype, variable } = operation;
      const given: { input?: DtypeArray; output?: DtypeArray } = request.op === 'barrier' ? {} : request;
      const output = this.#buffer('output', given.output, dtype, operation.outputElements, owned);
      const input = this.#buffer('input', given.input, dtype, operation.inputElements, owned);
      this.#checkAliasing(request.op, input, output);
      const buffers = {
        input,
        output,
        sendCounts: variable ? Int32Array.from(operation.counts) : noCounts,
        receivedCounts: variable ? new Int32Array(this.size) : noCounts,
      };
      const ticket = this.#control.add(
        () => this.transport.agree(encodeProposal(operation, this.#tagsInUse(), this.#fit)),
        (payloads) => {
          const agreed = compareProposals(payloads, operation);
          const outcome = compile(this.transport, operation, agreed, buffers, this.#fit);
          this.#checkTags(outcome.runner);
          return outcome;
        },
      );
      return this.#keep(new PlanBody(this, { op: request.op, ...buffers, owned }, ticket));
    } catch (error) {
      for (const array of owned) this.release(array);
      this.refuse(error);
      throw error;
    }
  }

  #preparePointToPoint(request: PointToPointRequest): PlanBody {
    const { op, dtype } = request;
    const peer = rankOf('peer', request.peer, this.size);
    const tag = request.tag ?? 0;
    if (peer === this.rank || !Number.isInteger(tag) || tag < 0 || tag >= POINT_TO_POINT_TAGS) {
      throw new CollectivesError({
        code: 'collectives/bad-config',
        message: `expected another rank and a tag below ${POINT_TO_POINT_TAGS} for ${op}, got rank ${peer}, tag ${tag}`,
        value: { peer, tag },
        remedy: 'copy locally instead of sending to the own rank; choose a smaller tag',
      });
    }
    const key = `${op} ${peer} ${tag}`;
    if (this.#pointToPoint.has(key)) {
      throw new CollectivesError({
        code: 'collectives/busy',
        message: `${op} with rank ${peer} and tag ${tag} is already planned`,
        value: { peer, tag },
        remedy: 'close the other plan first, or choose another tag',
      });
    }
    const owned: DtypeArray[] = [];
    const counts = Int32Array.of(request.count);
    const given = op === 'send' ? request.input : request.output;
    const array = this.#buffer(op === 'send' ? 'input' : 'output', given, dtype, request.count, owned);
    const empty = viewAs(dtype, new Uint8Array(0));
    const bytes = bytesPerElement(dtype);
    const channelTag = this.transport.tagLimit - POINT_TO_POINT_TAGS + tag;
    const runner =
      op === 'send'
        ? new SendRunner(this.transport, peer, channelTag, bytesOf(array), counts, bytes)
        : new ReceiveRunner(this.transport, peer, channelTag, bytesOf(array), counts, bytes);
    this.#pointToPoint.add(key);
    const release = { close: (): void => void this.#pointToPoint.delete(key) };
    const agreement: Agreement = {
      test: () => true,
      missing: () => [peer],
      result: () => ({ runner: new ReleasingRunner(runner, release), algorithm: undefined }),
    };
    const parts = {
      op,
      input: op === 'send' ? array : empty,
      output: op === 'send' ? empty : array,
      sendCounts: op === 'send' ? counts : noCounts,
      receivedCounts: op === 'send' ? noCounts : counts,
      owned,
    };
    return this.#keep(new PlanBody(this, parts, agreement));
  }

  #keep(plan: PlanBody): PlanBody {
    this.#plans.add(plan);
    return plan;
  }

  #buffer(
    name: string,
    given: DtypeArray | undefined,
    dtype: Dtype,
    elements: number,
    owned: DtypeArray[],
  ): DtypeArray {
    if (given !== undefined && (elements > 0 || given.length === 0)) {
      checkBuffer(name, given, dtype, elements);
      return given;
    }
    const array = this.allocate(dtype, elements);
    if (elements > 0) owned.push(array);
    return array;
  }

  #checkAliasing(op: PlanRequest['op'], input: DtypeArray, output: DtypeArray): void {
    const shared = aliasing(input, output);
    const mayBeSame = op === 'allReduce' || op === 'reduce' || op === 'broadcast';
    if (shared === 'apart' || (shared === 'same' && mayBeSame)) return;
    throw new CollectivesError({
      code: 'collectives/bad-shape',
      message: `input and output of ${op} share memory`,
      value: op,
      remedy: mayBeSame ? 'pass the same array twice, or separate ones' : 'pass separate arrays',
    });
  }

  #tagsInUse(): number {
    let end = 0;
    for (const plan of this.#plans) end = Math.max(end, plan.tagEnd);
    return end;
  }

  #checkTags(runner: Runner): void {
    const limit = this.transport.tagLimit - POINT_TO_POINT_TAGS;
    if (runner.tagEnd <= limit) return;
    runner.close();
    throw new CollectivesError({
      code: 'collectives/out-of-memory',
      message: `live plans need ${runner.tagEnd} channels between two ranks, of at most ${limit}`,
      value: runner.tagEnd,
      remedy: 'close plans that are no longer used, or use a dup()',
    });
  }
}

type PointToPointRequest = Exclude<PlanRequest, CollectiveRequest>;

function isPointToPoint(request: PlanRequest): request is PointToPointRequest {
  return request.op === 'send' || request.op === 'receive';
}

/** Runs something more when the runner is closed. */
class ReleasingRunner implements Runner {
  readonly tagEnd: number;
  readonly #runner: Runner;
  readonly #release: { close(): void };

  constructor(runner: Runner, release: { close(): void }) {
    this.#runner = runner;
    this.#release = release;
    this.tagEnd = runner.tagEnd;
  }

  start(): void {
    this.#runner.start();
  }

  test(): boolean {
    return this.#runner.test();
  }

  missing(): readonly number[] {
    return this.#runner.missing();
  }

  close(): void {
    this.#runner.close();
    this.#release.close();
  }
}

function isClosed(error: Error): boolean {
  return CollectivesError.isInstance(error) && error.code === 'collectives/closed';
}
