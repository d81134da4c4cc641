import { Scheduler } from '@moestack/scheduler';
import { defineBench } from '@moestack/tooling/bench';

const STEPS = 1000;
const SIZES = [64, 256, 1024];

/** A stage that decodes `sequences` requests for ever: those that end are replaced. */
function decoding(sequences: number): () => void {
  const scheduler = new Scheduler({
    blockSizeTokens: 16,
    maxWaiting: sequences,
    maxContextTokens: 4096,
    stages: [
      {
        name: 'all',
        role: 'mixed',
        blocks: sequences * 256,
        tokenBudget: sequences + 256,
        maxSequences: sequences,
      },
    ],
  });
  const outcomes = { tokens: new Int32Array(sequences), finished: new Uint8Array(sequences) };
  let submitted = 0;
  const step = (): void => {
    while (scheduler.stats.active < sequences) {
      // Spread lengths, so that ends do not fall on one step.
      const maxNewTokens = 1024 + ((submitted++ * 37) % 1024);
      scheduler.submit({ promptTokens: 128, maxNewTokens, arrivalUs: 0 });
    }
    const plan = scheduler.schedule(0);
    if (plan !== undefined) scheduler.complete(plan.stepId, outcomes, 0);
  };
  for (let i = 0; i < 3 * STEPS; i++) step();
  return () => {
    for (let i = 0; i < STEPS; i++) step();
  };
}

/** One decode step for 64 sequences while `waiting` requests stand in the queue: must not depend on them. */
function withQueue(waiting: number): () => void {
  const scheduler = new Scheduler({
    blockSizeTokens: 16,
    maxWaiting: waiting,
    maxContextTokens: 1 << 24,
    stages: [{ name: 'all', role: 'mixed', blocks: 1 << 20, tokenBudget: 64 * 128, maxSequences: 64 }],
  });
  const outcomes = { tokens: new Int32Array(64), finished: new Uint8Array(64) };
  const step = (): void => {
    const plan = scheduler.schedule(0);
    if (plan !== undefined) scheduler.complete(plan.stepId, outcomes, 0);
  };
  // Endless for the length of a run: 64 x 262,144 tokens fill the pool exactly.
  const request = { promptTokens: 128, maxNewTokens: 262_016, arrivalUs: 0 };
  for (let i = 0; i < 64; i++) {
    scheduler.submit(request);
    step();
  }
  for (let i = 0; i < waiting; i++) scheduler.submit(request);
  return () => {
    for (let i = 0; i < STEPS; i++) step();
  };
}

export default defineBench({
  name: 'scheduler',
  notes: [
    'each case runs 1,000 decode steps, so a figure in ms reads as microseconds per step of plan and complete',
    'context 128 to 2,176 tokens, blocks of 16; requests that end are replaced within the timed steps',
  ],
  groups: () => [
    {
      name: 'decode steps by batch',
      rounds: 9,
      cases: SIZES.map((size) => ({ name: `${size} sequences`, unit: 'ms', run: decoding(size) })),
      ratios: [
        { name: 'growth 64 -> 1024', numerator: '1024 sequences', denominator: '64 sequences', aim: 16 },
      ],
    },
    {
      name: 'decode steps of 64 sequences by queue',
      rounds: 9,
      cases: [64, 65_536].map((waiting) => ({
        name: `${waiting} waiting`,
        unit: 'ms',
        run: withQueue(waiting),
      })),
      ratios: [
        { name: 'growth 64 -> 65536 waiting', numerator: '65536 waiting', denominator: '64 waiting', aim: 1 },
      ],
    },
  ],
});
