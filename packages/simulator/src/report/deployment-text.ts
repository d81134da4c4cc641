import { gpusPerUnit, type Lengths, type Pool } from '../cost/deployment.js';
import type { PoolEstimate } from '../plan/candidate.js';
import { count, duration, short } from './text.js';

/** A layout in a few characters: `TP4 DP8 EP32`. */
export function layoutName({ tp, dp, ep }: Pick<Pool, 'tp' | 'dp' | 'ep'>): string {
  return (
    [tp > 1 ? `TP${tp}` : '', dp > 1 ? `DP${dp}` : '', ep > 1 ? `EP${ep}` : '']
      .filter((part) => part !== '')
      .join(' ') || 'one GPU'
  );
}

/** Token counts in words. */
export function lengthsInWords(lengths: Lengths): string {
  switch (lengths.kind) {
    case 'fixed':
      return count(lengths.tokens, 'token');
    case 'uniform':
      return `${short(lengths.minimum)} to ${short(lengths.maximum)} tokens`;
    case 'logNormal':
      return `${short(lengths.mean)} tokens on average`;
    case 'empirical':
      return `${short(lengths.tokens.reduce((sum, tokens) => sum + tokens, 0) / lengths.tokens.length)} tokens on average (${count(lengths.tokens.length, 'sample')})`;
  }
}

/** A pool as a sentence. */
export function poolInWords({ role, pool, memory, stepSeconds, utilisation, binding }: PoolEstimate): string {
  const gpus = gpusPerUnit(pool);
  const servers = gpus / pool.gpusPerNode;
  const where = servers >= 1 ? `${count(gpus, 'GPU')} in ${count(servers, 'server')}` : count(gpus, 'GPU');
  const experts =
    pool.ep > 1
      ? `${memory.weights.slots} of the experts of every layer on each GPU${pool.redundantExperts > 0 ? ` (${pool.redundantExperts} copies of popular ones in all)` : ''}`
      : 'experts split over all GPUs';
  const limit =
    role === 'prefill'
      ? `up to ${short(pool.maxTokensPerRank)} prompt tokens of a rank in a step of ${duration(stepSeconds)}`
      : `up to ${count(pool.maxSequencesPerRank, 'sequence')} of a rank in a step of ${duration(stepSeconds)}`;
  const overlap = pool.overlap.enabled ? ', two micro-batches overlapped' : '';
  return `${role}: ${count(pool.units, 'unit')} of ${where}, ${layoutName(pool)}, ${experts}; ${limit}${overlap}; ${Math.round(100 * utilisation)}% in use. What binds: ${binding.text}.`;
}
