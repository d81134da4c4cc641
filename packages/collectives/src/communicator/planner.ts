import { CollectivesError } from '../errors.js';
import { compareProposals, encodeProposal, encodeRefusal } from './agreement.js';
import { bufferOf, checkAliasing, releaseArray } from './buffers.js';
import type { PlanRequest } from './communicator.js';
import { compile } from './compile.js';
import type { ControlQueue } from './control-queue.js';
import { bytesPerElement, type DtypeArray, viewAs } from './dtype.js';
import { type CollectiveRequest, normalize, rankOf } from './operation.js';
import { type Agreement, bytesOf, PlanBody, type PlanHost } from './plan.js';
import { ReceiveRunner, SendRunner } from './point-to-point-runner.js';
import type { Runner } from './runner.js';

/** Tags of send and receive: the highest ones of the transport. */
const POINT_TO_POINT_TAGS = 256;
const noCounts = new Int32Array(0);

type PointToPointRequest = Exclude<PlanRequest, CollectiveRequest>;

function isPointToPoint(request: PlanRequest): request is PointToPointRequest {
  return request.op === 'send' || request.op === 'receive';
}

/** Tags of one plan: known as soon as it is agreed, even if nobody has polled the plan since. */
interface TagUse {
  end: number;
  closed: boolean;
}

/** Makes the plans of one communicator and knows those that live. */
export class Planner {
  readonly #host: PlanHost;
  readonly #control: ControlQueue;
  readonly #plans = new Map<PlanBody, TagUse>();
  readonly #uses = new Set<TagUse>();
  /** Peers and tags with a live point-to-point plan. */
  readonly #pointToPoint = new Set<string>();

  constructor(host: PlanHost, control: ControlQueue) {
    this.#host = host;
    this.#control = control;
  }

  /** A plan whose agreement has begun. @throws CollectivesError when this rank's arguments are wrong, after telling the others. */
  prepare(request: PlanRequest): PlanBody {
    const use: TagUse = { end: 0, closed: false };
    // Registered before its agreement begins, which may at once be followed by that of the next plan.
    this.#uses.add(use);
    try {
      const plan = isPointToPoint(request) ? this.#pointTo(request) : this.#collective(request, use);
      this.#plans.set(plan, use);
      return plan;
    } catch (error) {
      this.#uses.delete(use);
      throw error;
    }
  }

  forget(plan: PlanBody): void {
    const use = this.#plans.get(plan);
    this.#plans.delete(plan);
    if (use === undefined) return;
    use.closed = true;
    this.#uses.delete(use);
  }

  closeAll(): void {
    for (const plan of [...this.#plans.keys()]) plan.close();
  }

  /** Tells the other ranks, which wait in the same call, that this one rejected its arguments. */
  refuse(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#control.add(
      () => this.#host.transport.agree(encodeRefusal(reason)),
      () => undefined,
    );
  }

  #collective(request: CollectiveRequest, use: TagUse): PlanBody {
    const { transport } = this.#host;
    const owned: DtypeArray[] = [];
    try {
      const fit = this.#host.fit();
      const operation = normalize(request, transport.rank, transport.size);
      const { dtype, variable } = operation;
      const given: { input?: DtypeArray; output?: DtypeArray } = request.op === 'barrier' ? {} : request;
      const output = bufferOf(transport, 'output', given.output, dtype, operation.outputElements, owned);
      const input = bufferOf(transport, 'input', given.input, dtype, operation.inputElements, owned);
      checkAliasing(request.op, input, output);
      const buffers = {
        input,
        output,
        sendCounts: variable ? Int32Array.from(operation.counts) : noCounts,
        receivedCounts: variable ? new Int32Array(transport.size) : noCounts,
      };
      const ticket = this.#control.add(
        () => transport.agree(encodeProposal(operation, this.#tagsInUse(), fit)),
        (payloads) => {
          const agreed = compareProposals(payloads, operation);
          const outcome = compile(transport, operation, agreed, buffers, fit);
          this.#checkTags(outcome.runner);
          use.end = outcome.runner.tagEnd;
          if (use.closed) outcome.runner.close();
          return outcome;
        },
      );
      return new PlanBody(this.#host, { op: request.op, ...buffers, owned }, ticket);
    } catch (error) {
      for (const array of owned) releaseArray(transport, array);
      this.refuse(error);
      throw error;
    }
  }

  #pointTo(request: PointToPointRequest): PlanBody {
    const { op, dtype, count } = request;
    const { transport } = this.#host;
    const peer = rankOf('peer', request.peer, transport.size);
    const tag = request.tag ?? 0;
    checkStream(op, peer, tag, transport.rank);
    const key = `${op} ${peer} ${tag}`;
    if (this.#pointToPoint.has(key)) throw alreadyPlanned(op, peer, tag);
    const owned: DtypeArray[] = [];
    const sends = op === 'send';
    const given = sends ? request.input : request.output;
    const array = bufferOf(transport, sends ? 'input' : 'output', given, dtype, count, owned);
    const counts = Int32Array.of(count);
    const Kind = sends ? SendRunner : ReceiveRunner;
    const channelTag = transport.tagLimit - POINT_TO_POINT_TAGS + tag;
    const onClose = (): void => void this.#pointToPoint.delete(key);
    const runner = new Kind({
      transport,
      peer,
      tag: channelTag,
      region: bytesOf(array),
      counts,
      elementBytes: bytesPerElement(dtype),
      onClose,
    });
    this.#pointToPoint.add(key);
    const agreement: Agreement = {
      test: () => true,
      missing: () => [peer],
      result: () => ({ runner, algorithm: undefined }),
    };
    const empty = viewAs(dtype, new Uint8Array(0));
    const parts = {
      op,
      input: sends ? array : empty,
      output: sends ? empty : array,
      sendCounts: sends ? counts : noCounts,
      receivedCounts: sends ? noCounts : counts,
      owned,
    };
    const plan = new PlanBody(this.#host, parts, agreement);
    plan.poll();
    return plan;
  }

  #tagsInUse(): number {
    let end = 0;
    for (const use of this.#uses) end = Math.max(end, use.end);
    return end;
  }

  #checkTags(runner: Runner): void {
    const limit = this.#host.transport.tagLimit - POINT_TO_POINT_TAGS;
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

function checkStream(op: string, peer: number, tag: number, rank: number): void {
  if (peer !== rank && Number.isInteger(tag) && tag >= 0 && tag < POINT_TO_POINT_TAGS) return;
  throw new CollectivesError({
    code: 'collectives/bad-config',
    message: `expected another rank and a tag below ${POINT_TO_POINT_TAGS} for ${op}, got rank ${peer}, tag ${tag}`,
    value: { peer, tag },
    remedy: 'copy locally instead of sending to the own rank; choose a smaller tag',
  });
}

function alreadyPlanned(op: string, peer: number, tag: number): CollectivesError {
  return new CollectivesError({
    code: 'collectives/busy',
    message: `${op} with rank ${peer} and tag ${tag} is already planned`,
    value: { peer, tag },
    remedy: 'close the other plan first, or choose another tag',
  });
}
