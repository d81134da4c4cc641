import { Scheduler, type SchedulerConfig, type StepPlan } from '../src/index.js';

/** A request of a virtual run. */
export interface Arrival {
  arrivalUs: number;
  promptTokens: number;
  maxNewTokens: number;
  priority?: number;
  tenant?: number;
  /** Prompts of one family begin alike; -1 or absent = like no other. */
  family?: number;
}

interface Running {
  plan: StepPlan;
  endUs: number;
}

/** Runs arrivals through a scheduler on a virtual clock, decode steps one by one or fused. */
export class VirtualCluster {
  readonly scheduler: Scheduler;
  /** Per request, in order of submission: its times of first token and end, and its preemptions. */
  readonly times: { firstUs: number; endUs: number; preemptions: number }[] = [];
  plans = 0;
  readonly #decodeStage: number;
  readonly #blockSizeTokens: number;
  readonly #arrivals: readonly Arrival[];
  readonly #fuse: boolean;
  readonly #running: Running[] = [];
  readonly #rows: Map<number, number> = new Map();
  #next = 0;

  constructor(config: SchedulerConfig, arrivals: readonly Arrival[], fuse: boolean) {
    this.scheduler = new Scheduler(config);
    this.#blockSizeTokens = config.blockSizeTokens;
    this.#decodeStage = config.stages.findIndex((stage) => stage.role !== 'prefill');
    this.#arrivals = arrivals;
    this.#fuse = fuse;
  }

  run(): void {
    for (let nowUs = 0; Number.isFinite(nowUs); nowUs = this.#nextEventUs()) {
      this.#completeUntil(nowUs);
      this.#submitUntil(nowUs);
      this.#scheduleAt(nowUs);
    }
  }

  #nextEventUs(): number {
    const arrival = this.#arrivals[this.#next]?.arrivalUs ?? Number.POSITIVE_INFINITY;
    return this.#running.reduce((least, { endUs }) => Math.min(least, endUs), arrival);
  }

  #submitUntil(nowUs: number): void {
    while (this.#next < this.#arrivals.length && this.#arrivals[this.#next]!.arrivalUs <= nowUs) {
      const { family = -1, ...arrival } = this.#arrivals[this.#next++]!;
      const blocks = Math.floor(arrival.promptTokens / this.#blockSizeTokens);
      const prefix = Float64Array.from({ length: blocks }, (_, block) => family * 1000 + block);
      const id = this.scheduler.submit({ ...arrival, ...(family >= 0 && { prefix }) });
      this.#rows.set(id, this.times.length);
      this.times.push({ firstUs: -1, endUs: -1, preemptions: -1 });
    }
  }

  #scheduleAt(nowUs: number): void {
    let decode: Running | undefined;
    for (;;) {
      const plan = this.scheduler.schedule(nowUs);
      if (plan === undefined) break;
      this.plans++;
      const running = { plan, endUs: nowUs + durationUs(plan) };
      if (plan.stage === this.#decodeStage && plan.kind === 'compute') decode = running;
      else this.#running.push(running);
    }
    if (decode === undefined) return;
    // The ends of all other steps are known now: fuse up to the first step that ends with or after the next of them.
    const most = this.#fuse ? this.scheduler.steadySteps() : 0;
    if (most > 1) {
      const eventUs = this.#nextEventUs();
      const stepUs = durationUs(decode.plan);
      const steps = Math.min(most, Math.max(1, Math.ceil((eventUs - nowUs) / stepUs)));
      this.scheduler.fuse(decode.plan.stepId, steps);
      decode.endUs = nowUs + durationUs(decode.plan);
    }
    this.#running.push(decode);
  }

  #completeUntil(nowUs: number): void {
    const due = this.#running.filter(({ endUs }) => endUs <= nowUs);
    due.sort((a, b) => a.plan.stage - b.plan.stage || a.plan.kind.localeCompare(b.plan.kind));
    for (const entry of due) {
      this.#running.splice(this.#running.indexOf(entry), 1);
      this.#complete(entry.plan, nowUs);
    }
  }

  #complete(plan: StepPlan, nowUs: number): void {
    for (let row = 0; row < plan.sequences; row++) {
      if (plan.samples[row] !== 1) continue;
      const id = plan.requestIds[row]!;
      const index = this.#rows.get(id)!;
      const times = this.times[index]!;
      if (times.firstUs < 0) times.firstUs = nowUs;
      const generated = this.scheduler.generatedTokensOf(id) + plan.fusedSteps;
      if (generated === this.#arrivals[index]!.maxNewTokens) {
        times.endUs = nowUs;
        times.preemptions = this.scheduler.preemptionsOf(id);
      }
    }
    const outcomes = { tokens: new Int32Array(plan.sequences), finished: new Uint8Array(plan.sequences) };
    this.scheduler.complete(plan.stepId, outcomes, nowUs);
  }
}

function durationUs(plan: StepPlan): number {
  if (plan.kind === 'transfer') return 37 * plan.sequences;
  return plan.fusedSteps * (500 + 10 * plan.decodeSequences + 25 * plan.prefillTokens);
}
