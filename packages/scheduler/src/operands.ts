import { SchedulerError } from './errors.js';
import type { PlanRecord } from './plan-record.js';
import { Ending, type RequestTable } from './request-table.js';
import type { Stage } from './stage.js';
import type { SchedulerConfig, SchedulerRequest, StepOutcomes } from './types.js';

/** Refuses requests with lengths that are no lengths, and those that could never run. */
export function checkRequest(
  request: SchedulerRequest,
  config: SchedulerConfig,
  stages: readonly Stage[],
): void {
  const { promptTokens, maxNewTokens, arrivalUs, priority } = request;
  if (!Number.isInteger(promptTokens) || promptTokens < 1) {
    throw badRequest('an integer >= 1 for promptTokens', promptTokens);
  }
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) {
    throw badRequest('an integer >= 1 for maxNewTokens', maxNewTokens);
  }
  if (!Number.isFinite(arrivalUs)) throw badRequest('a finite number for arrivalUs', arrivalUs);
  if (priority !== undefined && !Number.isFinite(priority)) {
    throw badRequest('a finite number for priority', priority);
  }
  checkTenant(request.tenant ?? 0, config);
  if (request.prefix !== undefined) checkPrefix(request.prefix, promptTokens, config.blockSizeTokens);
  const tokens = promptTokens + maxNewTokens;
  if (tokens > config.maxContextTokens) {
    throw tooLong(tokens, `at most maxContextTokens = ${config.maxContextTokens}`);
  }
  for (let s = 0; s < stages.length; s++) {
    const stage = stages[s]!;
    if (stage.blocksFor(tokens) > stage.rankBlocks) {
      const room = stage.rankBlocks * config.blockSizeTokens;
      throw tooLong(
        tokens,
        `at most ${room}, all blocks of ${stage.ranks === 1 ? '' : 'a rank of '}stage ${JSON.stringify(config.stages[s]!.name)},`,
      );
    }
  }
}

/** Refuses a tenant that the fairness between tenants has no place for. */
export function checkTenant(tenant: number, config: SchedulerConfig): void {
  const tenants = config.fairness?.maxTenants ?? Number.MAX_SAFE_INTEGER;
  if (Number.isInteger(tenant) && tenant >= 0 && tenant < tenants) return;
  throw badRequest(`an integer from 0 to ${tenants - 1} for tenant`, tenant);
}

/** Refuses weights that are no shares. */
export function checkWeight(weight: number): void {
  if (!(weight > 0 && Number.isFinite(weight))) throw badRequest('a number above 0 for weight', weight);
}

function checkPrefix(prefix: Float64Array, promptTokens: number, blockSizeTokens: number): void {
  const most = Math.floor(promptTokens / blockSizeTokens);
  if (prefix.length > most) {
    throw badRequest(
      `at most ${most} entries in prefix, one for each whole block of the prompt`,
      prefix.length,
    );
  }
  for (let i = 0; i < prefix.length; i++) {
    if (!Number.isSafeInteger(prefix[i]) || prefix[i]! < 0) {
      throw badRequest(`an integer from 0 to 2^53 - 1 for prefix[${i}]`, prefix[i]);
    }
  }
}

/** Refuses outcomes whose arrays do not fit the plan, before any of them is applied. */
export function checkOutcomes(plan: PlanRecord, outcomes: StepOutcomes, requests: RequestTable): void {
  const { tokens, finished, failed } = outcomes;
  const { sequences } = plan;
  if (failed !== undefined && failed.length < sequences) throw badLength('failed', failed.length, sequences);
  if (plan.kind === 'transfer') return;
  if (tokens.length < sequences) throw badLength('tokens', tokens.length, sequences);
  if (finished.length < sequences) throw badLength('finished', finished.length, sequences);
  for (let row = 0; row < sequences; row++) {
    if (plan.samples[row] === 1 && tokens[row]! < 0 && failed?.[row] !== 1) {
      if (requests.ending[plan.requestIds[row]!] !== Ending.none) continue;
      throw new SchedulerError({
        code: 'scheduler/bad-outcomes',
        message: `expected a sampled token for sequence ${row} of step ${plan.stepId}, got ${tokens[row]}`,
        value: tokens[row],
        remedy: 'sample where samples is 1, or mark the sequence in failed',
      });
    }
  }
}

function badLength(name: string, actual: number, needed: number): SchedulerError {
  return new SchedulerError({
    code: 'scheduler/bad-outcomes',
    message: `expected at least ${needed} entries in ${name}, got ${actual}`,
    value: actual,
    remedy: 'pass one entry per sequence of the plan',
  });
}

function badRequest(expected: string, value: unknown): SchedulerError {
  return new SchedulerError({
    code: 'scheduler/bad-request',
    message: `expected ${expected}, got ${value}`,
    value: typeof value === 'number' ? value : String(value),
    remedy: 'correct the request',
  });
}

function tooLong(tokens: number, limit: string): SchedulerError {
  return new SchedulerError({
    code: 'scheduler/too-long',
    message: `expected ${limit} tokens of prompt and output, got ${tokens}`,
    value: tokens,
    remedy: 'shorten the prompt, lower maxNewTokens, or give the scheduler more blocks',
  });
}
