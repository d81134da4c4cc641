import { checkConfig } from './config.js';
import { SchedulerError } from './errors.js';
import { checkOutcomes, checkRequest, checkTenant, checkWeight } from './operands.js';
import { planCompute } from './plan-compute.js';
import { PlanPool, type PlanRecord } from './plan-record.js';
import { planTransfer } from './plan-transfer.js';
import { emptyLoad, type QueueLoad, readLoad } from './queue-load.js';
import { Ending, NO_PREFIX, Phase } from './request-table.js';
import type { Stage } from './stage.js';
import { SchedulerState } from './state.js';
import { countSteadySteps, fusePlan } from './steady-steps.js';
import { completeCompute, completeTransfer, requeueAll } from './step-effects.js';
import type {
  RequestState,
  SchedulerConfig,
  SchedulerRequest,
  SchedulerStats,
  StepOutcomes,
  StepPlan,
} from './types.js';

/**
 * Decides what every step computes: continuous batching with chunked prefill over paged KV blocks.
 *
 * A pure state machine: it reads no clock, starts nothing and sees no token values. The caller asks for plans until
 * there is none, runs them, and reports each with {@link Scheduler.complete} or {@link Scheduler.fail}, in any order.
 * Planning allocates no memory: plans and their arrays are reused.
 *
 * @throws SchedulerError `scheduler/bad-config` for an arrangement that cannot run.
 *
 * @example
 * ```ts
 * import { Scheduler } from '@moestack/scheduler';
 *
 * const scheduler = new Scheduler({
 *   blockSizeTokens: 16,
 *   maxWaiting: 8,
 *   maxContextTokens: 256,
 *   stages: [{ name: 'all', role: 'mixed', blocks: 64, tokenBudget: 128, maxSequences: 4 }],
 * });
 * const id = scheduler.submit({ promptTokens: 20, maxNewTokens: 1, arrivalUs: 0 });
 * const plan = scheduler.schedule(0);
 * if (plan !== undefined) {
 *   console.log(plan.requestIds[0] === id, plan.tokenCounts[0]);
 *   scheduler.complete(plan.stepId, { tokens: Int32Array.of(42), finished: Uint8Array.of(0) }, 1000);
 * }
 * console.log(scheduler.stateOf(id));
 * ```
 */
export class Scheduler {
  readonly #config: SchedulerConfig;
  readonly #state: SchedulerState;
  readonly #computePlans: readonly PlanPool[];
  readonly #transferPlans: PlanPool | undefined;
  readonly #inFlight: PlanRecord[] = [];
  readonly #load: QueueLoad = emptyLoad();
  #nextStepId = 0;
  /** Counted since the last change, -1 = not yet: a plan is fused right after its steps were counted. */
  #steadySteps = -1;

  constructor(config: SchedulerConfig) {
    checkConfig(config);
    this.#config = config;
    this.#state = new SchedulerState(config);
    const { stages, entry, last } = this.#state;
    this.#computePlans = stages.map((stage) => new PlanPool(stage));
    this.#transferPlans = entry === last ? undefined : new PlanPool(last, entry);
  }

  /** Counters and gauges; the object is live. */
  get stats(): SchedulerStats {
    return this.#state;
  }

  /** Requests that may be known at once; request ids are below it. */
  get capacity(): number {
    return this.#state.requests.capacity;
  }

  /**
   * Queues a request and returns its id, a small integer that is used again after the request is gone.
   *
   * @throws SchedulerError `scheduler/queue-full` (retry later), `scheduler/too-long` (can never run) or
   * `scheduler/bad-request`.
   */
  submit(request: SchedulerRequest): number {
    const { queue, requests, stages } = this.#state;
    checkRequest(request, this.#config, stages);
    if (queue.size >= this.#config.maxWaiting) {
      throw new SchedulerError({
        code: 'scheduler/queue-full',
        message: `expected fewer than ${this.#config.maxWaiting} waiting requests, got ${queue.size}`,
        value: queue.size,
        remedy: 'retry later, or raise maxWaiting',
      });
    }
    this.#steadySteps = -1;
    const slot = requests.take();
    requests.promptTokens[slot] = request.promptTokens;
    requests.maxNewTokens[slot] = request.maxNewTokens;
    requests.arrivalUs[slot] = request.arrivalUs;
    const priority = request.priority ?? 0;
    requests.priority[slot] = priority;
    if (priority !== 0) this.#state.hasPriorities = true;
    requests.tenant[slot] = request.tenant ?? 0;
    requests.prefix[slot] = request.prefix ?? NO_PREFIX;
    requests.phase[slot] = Phase.waiting;
    queue.pushBack(slot, priority, request.tenant ?? 0, request.promptTokens);
    this.#state.submitted++;
    return slot;
  }

  /**
   * Drops a request. Its blocks are free on return, or when the step in flight that uses them completes; what that
   * step sampled for it is ignored. Returns false if the id belongs to no request, or to one that is ending already.
   */
  cancel(id: number): boolean {
    return this.#end(id, Ending.cancelled);
  }

  /** Ends a request at the caller's wish (a stop string was seen): like {@link Scheduler.cancel}, counted as finished. */
  finish(id: number): boolean {
    return this.#end(id, Ending.finished);
  }

  /** Where a request is. A request that is ending is `gone`, also while a step still uses its blocks. */
  stateOf(id: number): RequestState {
    if (!this.#isLive(id)) return 'gone';
    const { requests } = this.#state;
    const phase = requests.phase[id];
    if (phase === Phase.waiting) return 'waiting';
    if (phase === Phase.transfer || phase === Phase.handover) return 'transfer';
    return phase === Phase.active && requests.decodes(id) ? 'decode' : 'prefill';
  }

  /** Tokens generated so far, 0 for an id that belongs to no request. */
  generatedTokensOf(id: number): number {
    return this.#isLive(id) ? this.#state.requests.generated[id]! : 0;
  }

  /** Times the request lost its blocks to another, 0 for an id that belongs to no request. */
  preemptionsOf(id: number): number {
    return this.#isLive(id) ? this.#state.requests.preemptions[id]! : 0;
  }

  /** Prompt tokens that the request found in the prefix cache when it was first admitted. */
  cachedTokensOf(id: number): number {
    return this.#isLive(id) ? this.#state.requests.cached[id]! : 0;
  }

  /** What stands before a request that would arrive now; the object is filled anew by the next call. */
  load(): QueueLoad {
    return readLoad(this.#state, this.#load);
  }

  /**
   * Tokens of a prompt with these prefixes that the cache of a rank holds now, so that a caller can choose where to send it.
   *
   * @param prefix - as {@link SchedulerRequest.prefix}.
   */
  cachedTokensFor(prefix: Float64Array): number {
    const { entry, blockSizeTokens } = this.#state;
    let found = 0;
    for (let rank = 0; rank < entry.ranks; rank++) {
      found = Math.max(found, entry.findPrefix(rank, prefix, prefix.length));
    }
    return found * blockSizeTokens;
  }

  /** Forgets every cached prefix of a stage, because what its blocks hold is lost. */
  clearPrefixCache(stage: number): void {
    this.#steadySteps = -1;
    this.#state.stages[stage]?.clearPrefixes();
  }

  /**
   * The share of a tenant under load, relative to others; 1 until set.
   *
   * @throws SchedulerError `scheduler/bad-request`.
   */
  setTenantWeight(tenant: number, weight: number): void {
    checkTenant(tenant, this.#config);
    checkWeight(weight);
    this.#state.queue.setWeight(tenant, weight);
  }

  /** Tokens a tenant was served: prompt tokens not cached, and generated ones times `decodeCost`; 0 without fairness. */
  servedTokensOf(tenant: number): number {
    checkTenant(tenant, this.#config);
    return this.#state.queue.servedOf(tenant);
  }

  /**
   * Plans the next step that can start now, for any stage; call until it returns undefined. Decode steps come first,
   * then transfers, then prefill.
   *
   * @param nowUs - the caller's clock; used for statistics only.
   */
  schedule(nowUs: number): StepPlan | undefined {
    this.#steadySteps = -1;
    const { entry, last } = this.#state;
    const plan = this.#planCompute(last, nowUs);
    if (plan !== undefined || entry === last) return plan;
    return this.#planTransfer(nowUs) ?? this.#planCompute(entry, nowUs);
  }

  /**
   * How many steps of the decoding stage are the same decode step again: same sequences, one token each, blocks free
   * for all of them, nobody admitted, and nobody at its length before the last of them. Counted from the step in
   * flight there (so it is at least 1 for a decode step), or from the next one if there is none; 0 for other steps.
   * What comes from outside (a request, a cancellation, EOS, the end of a prefill step or transfer) is the caller's
   * to see coming.
   */
  steadySteps(): number {
    if (this.#steadySteps < 0) this.#steadySteps = countSteadySteps(this.#state, this.#decodePlan());
    return this.#steadySteps;
  }

  /**
   * Makes the decode plan in flight stand for `steps` steps, so that a simulation, or an engine that decodes several
   * tokens at a go, need not come back for each. Blocks for all of them are added to its tables.
   *
   * @param steps - from 1 to {@link Scheduler.steadySteps}.
   * @throws SchedulerError `scheduler/unknown-step`, or `scheduler/not-steady` for more steps than that.
   */
  fuse(stepId: number, steps: number): void {
    const plan = this.#inFlight[this.#find(stepId)]!;
    const most = plan === this.#decodePlan() ? this.steadySteps() : 0;
    if (plan.fusedSteps !== 1 || !Number.isInteger(steps) || steps < 1 || steps > most) {
      throw new SchedulerError({
        code: 'scheduler/not-steady',
        message: `expected an integer from 1 to ${plan.fusedSteps === 1 ? most : 0} for steps, got ${steps}`,
        value: steps,
        remedy: 'fuse a plan once, as soon as it is made, with at most steadySteps() steps',
      });
    }
    this.#steadySteps = -1;
    fusePlan(this.#state, plan, steps);
  }

  /**
   * Takes in what a step did. For a fused plan the arrays speak of the last of its steps.
   *
   * @throws SchedulerError `scheduler/unknown-step`, or `scheduler/bad-outcomes` for arrays that do not fit the plan.
   */
  complete(stepId: number, outcomes: StepOutcomes, nowUs: number): void {
    const position = this.#find(stepId);
    const plan = this.#inFlight[position]!;
    checkOutcomes(plan, outcomes, this.#state.requests);
    this.#land(plan, position, nowUs);
    if (plan.kind === 'transfer') completeTransfer(this.#state, plan, outcomes.failed);
    else completeCompute(this.#state, plan, outcomes);
    this.#release(plan);
  }

  /**
   * The whole step was lost, with the KV it wrote: its requests go back to the front of the queue and are computed
   * again over their known tokens. No token is lost or repeated.
   *
   * @throws SchedulerError `scheduler/unknown-step`.
   */
  fail(stepId: number, nowUs: number): void {
    const position = this.#find(stepId);
    const plan = this.#inFlight[position]!;
    this.#land(plan, position, nowUs);
    requeueAll(this.#state, plan);
    this.#release(plan);
  }

  #planCompute(stage: Stage, nowUs: number): StepPlan | undefined {
    if (stage.stepsInFlight >= stage.maxStepsInFlight) return undefined;
    const pool = this.#computePlans[stage.index]!;
    const plan = pool.take();
    planCompute(this.#state, stage, plan, nowUs);
    if (plan.sequences === 0) {
      pool.give(plan);
      return undefined;
    }
    stage.stepsInFlight++;
    return this.#launch(plan, nowUs);
  }

  #planTransfer(nowUs: number): StepPlan | undefined {
    const pool = this.#transferPlans!;
    const plan = pool.take();
    planTransfer(this.#state, plan);
    if (plan.sequences === 0) {
      pool.give(plan);
      return undefined;
    }
    return this.#launch(plan, nowUs);
  }

  #launch(plan: PlanRecord, nowUs: number): StepPlan {
    plan.stepId = this.#nextStepId++;
    plan.startedUs = nowUs;
    this.#inFlight.push(plan);
    return plan;
  }

  /** The only compute plan in flight on the last stage, if there is exactly one. */
  #decodePlan(): PlanRecord | undefined {
    const { last } = this.#state;
    if (last.stepsInFlight !== 1) return undefined;
    for (let i = 0; i < this.#inFlight.length; i++) {
      const plan = this.#inFlight[i]!;
      if (plan.stage === last.index && plan.kind === 'compute') return plan;
    }
    return undefined;
  }

  #find(stepId: number): number {
    for (let i = 0; i < this.#inFlight.length; i++) if (this.#inFlight[i]!.stepId === stepId) return i;
    throw new SchedulerError({
      code: 'scheduler/unknown-step',
      message: `expected the id of a step in flight, got ${stepId}`,
      value: stepId,
      remedy: 'report each planned step exactly once',
    });
  }

  /** Takes a plan out of flight: its sequences belong to no step any more. */
  #land(plan: PlanRecord, position: number, nowUs: number): void {
    this.#steadySteps = -1;
    const { requests, stages } = this.#state;
    const lastPlan = this.#inFlight.pop()!;
    if (lastPlan !== plan) this.#inFlight[position] = lastPlan;
    const stage = stages[plan.stage]!;
    if (plan.kind === 'compute') {
      stage.stepsInFlight--;
      stage.busyUs += nowUs - plan.startedUs;
    }
    for (let row = 0; row < plan.sequences; row++) {
      requests.inStep[plan.requestIds[row]!] = 0;
      stage.busy[plan.ranks[row]!]! -= 1;
    }
  }

  #release(plan: PlanRecord): void {
    plan.stepId = -1;
    if (plan.kind === 'transfer') this.#transferPlans!.give(plan);
    else this.#computePlans[plan.stage]!.give(plan);
  }

  #end(id: number, ending: typeof Ending.cancelled | typeof Ending.finished): boolean {
    if (!this.#isLive(id)) return false;
    this.#steadySteps = -1;
    this.#state.end(id, ending);
    return true;
  }

  #isLive(id: number): boolean {
    const { requests } = this.#state;
    return (
      Number.isInteger(id) &&
      id >= 0 &&
      id < requests.capacity &&
      requests.phase[id] !== Phase.free &&
      requests.ending[id] === Ending.none
    );
  }
}
