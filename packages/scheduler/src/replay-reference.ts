import { SchedulerError } from './errors.js';
import { Scheduler } from './scheduler.js';
import type { StepPlan } from './types.js';

/** A request of a trace. */
export interface ReferenceRequest {
  arrivalUs: number;
  inputTokens: number;
  outputTokens: number;
}

/** What happened to a request; -1, -1, 0 if it was refused because it could never fit. */
export interface ReferenceResult {
  firstTokenUs: number;
  finishUs: number;
  preemptions: number;
}

const KEYS = [
  'token_budget',
  'max_num_seqs',
  'block_size',
  'num_blocks',
  'step_base_us',
  'per_prefill_token_us',
  'per_decode_seq_us',
  'ctx_tokens_per_us',
] as const;
type Parameters = Record<(typeof KEYS)[number], number>;

/**
 * Runs a trace through a {@link Scheduler} with one `mixed` stage on a virtual clock, one step at a time.
 *
 * A step takes `step_base_us + per_prefill_token_us P + per_decode_seq_us D + floor(C / ctx_tokens_per_us)` microseconds
 * for P prefill tokens, D decode sequences and C tokens of context after the step.
 *
 * @param requests - in any order; equal arrivals keep theirs.
 * @param config - `token_budget`, `max_num_seqs`, `block_size`, `num_blocks` and the four constants of the step time.
 * @returns one result per request, in the order given.
 * @throws SchedulerError `scheduler/bad-config` or `scheduler/bad-request`.
 */
export function replayReference(
  requests: readonly ReferenceRequest[],
  config: Record<string, number>,
): ReferenceResult[] {
  const parameters = readParameters(config);
  const scheduler = new Scheduler({
    blockSizeTokens: parameters.block_size,
    maxWaiting: Math.max(1, requests.length),
    maxContextTokens: Math.max(2, parameters.num_blocks * parameters.block_size),
    stages: [
      {
        name: 'all',
        role: 'mixed',
        blocks: parameters.num_blocks,
        tokenBudget: parameters.token_budget,
        maxSequences: parameters.max_num_seqs,
      },
    ],
  });
  return new Replay(scheduler, requests, parameters).run();
}

class Replay {
  readonly #scheduler: Scheduler;
  readonly #requests: readonly ReferenceRequest[];
  readonly #parameters: Parameters;
  readonly #results: ReferenceResult[];
  readonly #rows: Int32Array;
  readonly #outcomes: { tokens: Int32Array; finished: Uint8Array };

  constructor(scheduler: Scheduler, requests: readonly ReferenceRequest[], parameters: Parameters) {
    this.#scheduler = scheduler;
    this.#requests = requests;
    this.#parameters = parameters;
    this.#results = requests.map(() => ({ firstTokenUs: -1, finishUs: -1, preemptions: 0 }));
    this.#rows = new Int32Array(scheduler.capacity);
    const sequences = parameters.max_num_seqs;
    this.#outcomes = { tokens: new Int32Array(sequences), finished: new Uint8Array(sequences) };
  }

  run(): ReferenceResult[] {
    const requests = this.#requests;
    const order = requests
      .map((_, row) => row)
      .sort((a, b) => requests[a]!.arrivalUs - requests[b]!.arrivalUs || a - b);
    let nowUs = 0;
    let next = 0;
    for (;;) {
      while (next < order.length && requests[order[next]!]!.arrivalUs <= nowUs) this.#submit(order[next++]!);
      const plan = this.#scheduler.schedule(nowUs);
      if (plan !== undefined) {
        nowUs += this.#durationUs(plan);
        this.#complete(plan, nowUs);
      } else if (this.#scheduler.stats.active === 0) {
        if (next === order.length) return this.#results;
        nowUs = requests[order[next]!]!.arrivalUs;
      }
    }
  }

  #submit(row: number): void {
    const { arrivalUs, inputTokens, outputTokens } = this.#requests[row]!;
    try {
      const id = this.#scheduler.submit({
        promptTokens: inputTokens,
        maxNewTokens: outputTokens,
        arrivalUs,
      });
      this.#rows[id] = row;
    } catch (error) {
      if (!SchedulerError.isInstance(error) || error.code !== 'scheduler/too-long') throw error;
    }
  }

  #durationUs(plan: StepPlan): number {
    const parameters = this.#parameters;
    let context = 0;
    for (let i = 0; i < plan.sequences; i++) context += plan.contextStarts[i]! + plan.tokenCounts[i]!;
    return (
      parameters.step_base_us +
      parameters.per_prefill_token_us * plan.prefillTokens +
      parameters.per_decode_seq_us * plan.decodeSequences +
      Math.floor(context / parameters.ctx_tokens_per_us)
    );
  }

  #complete(plan: StepPlan, nowUs: number): void {
    for (let i = 0; i < plan.sequences; i++) {
      if (plan.samples[i] !== 1) continue;
      const id = plan.requestIds[i]!;
      const row = this.#rows[id]!;
      const result = this.#results[row]!;
      if (result.firstTokenUs < 0) result.firstTokenUs = nowUs;
      if (this.#scheduler.generatedTokensOf(id) + 1 === this.#requests[row]!.outputTokens) {
        result.finishUs = nowUs;
        result.preemptions = this.#scheduler.preemptionsOf(id);
      }
    }
    this.#scheduler.complete(plan.stepId, this.#outcomes, nowUs);
  }
}

function readParameters(config: Record<string, number>): Parameters {
  for (const key of KEYS) {
    const value = config[key];
    const minimum = key.endsWith('_us') && key !== 'ctx_tokens_per_us' ? 0 : 1;
    if (value === undefined || !Number.isInteger(value) || value < minimum) {
      throw new SchedulerError({
        code: 'scheduler/bad-config',
        message: `expected an integer >= ${minimum} for ${key}, got ${value}`,
        value,
        remedy: `pass ${key} as such an integer`,
      });
    }
  }
  return config as Parameters;
}
