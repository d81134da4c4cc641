import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Scheduler, type SchedulerConfig, SchedulerError, type StepPlan } from '../src/index.js';
import { PagedEngine } from './paged-engine.js';

const wishes = {
  prefixCache: fc.boolean(),
  isFair: fc.boolean(),
  chunk: fc.constantFrom(undefined, 1, 3, 7),
  maxHandover: fc.constantFrom(undefined, 1, 3),
  minTokens: fc.constantFrom(undefined, 1, 6),
};

const stageLimits = {
  blocks: fc.integer({ min: 6, max: 20 }),
  ranks: fc.constantFrom(1, 1, 2, 3),
  tokenBudget: fc.integer({ min: 1, max: 24 }),
  maxSequences: fc.integer({ min: 1, max: 6 }),
  maxStepsInFlight: fc.integer({ min: 1, max: 3 }),
};

const configs: fc.Arbitrary<SchedulerConfig> = fc
  .record({
    blockSizeTokens: fc.integer({ min: 1, max: 4 }),
    maxWaiting: fc.integer({ min: 1, max: 8 }),
    first: fc.record(stageLimits),
    second: fc.record(stageLimits),
    wishes: fc.record(wishes),
    arrangement: fc.constantFrom('mixed', 'pair', 'reversed'),
  })
  .map(({ blockSizeTokens, maxWaiting, first, second, wishes, arrangement }) => {
    const { prefixCache, isFair, chunk, maxHandover, minTokens } = wishes;
    const both = {
      ...(chunk !== undefined && { maxChunkTokens: chunk }),
      ...(minTokens !== undefined && { microBatches: { minTokens } }),
    };
    const prefill = {
      name: 'prefill',
      role: 'prefill' as const,
      prefixCache,
      ...first,
      ...both,
      ...(maxHandover !== undefined && { maxHandover }),
    };
    const decode = { name: 'decode', role: 'decode' as const, ...second, ...both };
    const stages =
      arrangement === 'mixed'
        ? [{ name: 'all', role: 'mixed' as const, prefixCache, ...first, ...both }]
        : arrangement === 'pair'
          ? [prefill, decode]
          : [decode, prefill];
    const fairness = isFair && { fairness: { maxTenants: 3 } };
    return { blockSizeTokens, maxWaiting, maxContextTokens: 64, stages, ...fairness };
  });

type Move =
  | { type: 'submit'; prompt: number; output: number; priority: number; tenant: number; family: number }
  | { type: 'schedule' }
  | { type: 'complete'; which: number; fates: number[] }
  | { type: 'fail'; which: number }
  | { type: 'cancel' | 'finish'; which: number };

const which = fc.nat(1000);
const fateLists = fc.array(fc.nat(15), { minLength: 6, maxLength: 6 });
const moves: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('submit' as const),
      prompt: fc.integer({ min: 1, max: 24 }),
      output: fc.integer({ min: 1, max: 16 }),
      priority: fc.integer({ min: 0, max: 1 }),
      tenant: fc.integer({ min: 0, max: 2 }),
      family: fc.integer({ min: -1, max: 2 }),
    }),
  },
  { weight: 6, arbitrary: fc.constant({ type: 'schedule' as const }) },
  { weight: 8, arbitrary: fc.record({ type: fc.constant('complete' as const), which, fates: fateLists }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('fail' as const), which }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('cancel' as const, 'finish' as const), which }) },
);

function pick<T>(items: readonly T[], index: number): T | undefined {
  return items.length === 0 ? undefined : items[index % items.length];
}

/** Halves differ by the heaviest sequence at most, and only steps that are split have two. */
function checkSplit(plan: StepPlan, config: SchedulerConfig): void {
  const { minTokens, contextCost = 1 / 512 } = config.stages[plan.stage]!.microBatches ?? {
    minTokens: Number.POSITIVE_INFINITY,
  };
  const work = [0, 0];
  let heaviest = 0;
  let tokens = 0;
  for (let row = 0; row < plan.sequences; row++) {
    const count = plan.tokenCounts[row]!;
    const one = count * (1 + contextCost * (plan.contextStarts[row]! + count / 2));
    if (plan.microBatches === 2) work[plan.microBatchOf[row]!]! += one;
    heaviest = Math.max(heaviest, one);
    tokens += count;
  }
  const splits = plan.kind === 'compute' && plan.sequences > 1 && tokens >= minTokens;
  expect(plan.microBatches).toBe(splits ? 2 : 1);
  expect(Math.abs(work[0]! - work[1]!)).toBeLessThanOrEqual(heaviest * (1 + 1e-9));
}

function play(scheduler: Scheduler, engine: PagedEngine, move: Move): void {
  if (move.type === 'submit') {
    try {
      engine.submit(move.prompt, move.output, move);
    } catch (error) {
      if (!SchedulerError.isInstance(error)) throw error;
      expect(['scheduler/queue-full', 'scheduler/too-long']).toContain(error.code);
    }
  } else if (move.type === 'schedule') engine.schedule();
  else if (move.type === 'complete') {
    const plan = pick(engine.inFlight, move.which);
    const { fates } = move;
    if (plan !== undefined) {
      engine.complete(plan, (row) => (fates[row] === 0 ? 'fails' : fates[row] === 1 ? 'ends' : 'works'));
    }
  } else if (move.type === 'fail') {
    const plan = pick(engine.inFlight, move.which);
    if (plan !== undefined) engine.fail(plan);
  } else {
    const ids = [...engine.live.keys()].filter((id) => scheduler.stateOf(id) !== 'gone');
    const id = pick(ids, move.which);
    if (id !== undefined) engine.end(id, move.type);
  }
}

describe('random operation', () => {
  it('keeps every token, every block and every request, and always drains', () => {
    const seen = { preemptions: 0, transfers: 0, requeued: 0, cancelled: 0, cachedTokens: 0 };
    fc.assert(
      fc.property(configs, fc.array(moves, { minLength: 20, maxLength: 200 }), (config, steps) => {
        const scheduler = new Scheduler(config);
        const engine = new PagedEngine(scheduler, config.blockSizeTokens, config.stages.length);
        for (const move of steps) {
          play(scheduler, engine, move);
          for (const plan of engine.inFlight) {
            checkSplit(plan, config);
            for (let row = 0; row < plan.sequences; row++) {
              expect(plan.ranks[row]).toBeLessThan(config.stages[plan.stage]!.ranks ?? 1);
            }
          }
          engine.checkAgreement();
        }
        for (let turn = 0; engine.live.size > 0; turn++) {
          if (turn > 20_000) throw new Error('the scheduler does not drain');
          engine.schedule();
          const plan = pick(engine.inFlight, turn);
          if (plan === undefined) throw new Error('the scheduler is stuck');
          engine.complete(plan, () => 'works');
          engine.checkAgreement();
        }
        const { submitted, finished, cancelled, waiting } = scheduler.stats;
        expect([finished + cancelled, waiting]).toEqual([submitted, 0]);
        for (const key of Object.keys(seen) as (keyof typeof seen)[]) seen[key] += scheduler.stats[key];
      }),
      { seed: 20_250_102, numRuns: 1800 },
    );
    // The runs are worth something only if the rare paths were taken often.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(500);
  });
});
