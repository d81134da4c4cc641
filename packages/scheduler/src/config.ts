import { SchedulerError } from './errors.js';
import type { SchedulerConfig, StageConfig } from './types.js';

const MAX_BLOCKS = 1 << 28;
const MAX_RANKS = 1 << 12;
const MAX_SEQUENCES = 1 << 20;
const MAX_TOKENS = 1 << 30;
const MAX_STEPS = 1024;

/** Refuses configurations that no scheduler can run. */
export function checkConfig(config: SchedulerConfig): void {
  requireInteger('blockSizeTokens', config.blockSizeTokens, 1, MAX_TOKENS);
  requireInteger('maxWaiting', config.maxWaiting, 1, MAX_SEQUENCES);
  requireInteger('maxContextTokens', config.maxContextTokens, 2, MAX_TOKENS);
  if (config.fairness !== undefined) {
    requireInteger('fairness.maxTenants', config.fairness.maxTenants, 1, MAX_SEQUENCES);
    requireAmount('fairness.decodeCost', config.fairness.decodeCost ?? 1);
  }
  const roles = config.stages.map((stage) => stage.role);
  const sorted = [...roles].sort().join(' + ');
  if (sorted !== 'mixed' && sorted !== 'decode + prefill') {
    throw badConfig(
      `expected one 'mixed' stage, or one 'prefill' and one 'decode' stage, got [${roles.join(', ')}]`,
      roles,
      'pass one of the two arrangements',
    );
  }
  for (const stage of config.stages) checkStage(stage);
}

function checkStage(stage: StageConfig): void {
  const name = `of stage ${JSON.stringify(stage.name)}`;
  requireInteger(`blocks ${name}`, stage.blocks, 1, MAX_BLOCKS);
  if (stage.ranks !== undefined) requireInteger(`ranks ${name}`, stage.ranks, 1, MAX_RANKS);
  requireInteger(`tokenBudget ${name}`, stage.tokenBudget, 1, MAX_TOKENS);
  requireInteger(`maxSequences ${name}`, stage.maxSequences, 1, MAX_SEQUENCES);
  if (stage.maxStepsInFlight !== undefined) {
    requireInteger(`maxStepsInFlight ${name}`, stage.maxStepsInFlight, 1, MAX_STEPS);
  }
  if (stage.maxChunkTokens !== undefined) {
    requireInteger(`maxChunkTokens ${name}`, stage.maxChunkTokens, 1, MAX_TOKENS);
  }
  if (stage.maxHandover !== undefined) {
    requireInteger(`maxHandover ${name}`, stage.maxHandover, 1, MAX_SEQUENCES);
    if (stage.role !== 'prefill') refuseOption('maxHandover', stage, 'prefill');
  }
  if (stage.prefixCache === true && stage.role === 'decode')
    refuseOption('prefixCache', stage, 'prefill or mixed');
  if (stage.microBatches !== undefined) {
    requireInteger(`microBatches.minTokens ${name}`, stage.microBatches.minTokens, 1, MAX_TOKENS);
    requireAmount(`microBatches.contextCost ${name}`, stage.microBatches.contextCost ?? 0);
  }
}

function refuseOption(option: string, stage: StageConfig, roles: string): never {
  throw badConfig(
    `expected ${option} on a stage of role ${roles} only, got it on ${JSON.stringify(stage.name)}`,
    stage.role,
    `leave ${option} out there`,
  );
}

function requireAmount(name: string, value: number): void {
  if (Number.isFinite(value) && value >= 0) return;
  throw badConfig(`expected a number >= 0 for ${name}, got ${value}`, value, `pass ${name} as such a number`);
}

function requireInteger(name: string, value: number, minimum: number, maximum: number): void {
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw badConfig(
      `expected an integer from ${minimum} to ${maximum} for ${name}, got ${value}`,
      value,
      `pass ${name} as an integer in that range`,
    );
  }
}

function badConfig(message: string, value: unknown, remedy: string): SchedulerError {
  return new SchedulerError({ code: 'scheduler/bad-config', message, value, remedy });
}
