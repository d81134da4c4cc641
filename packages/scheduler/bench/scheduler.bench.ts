import { Scheduler } from '@moestack/scheduler';
import { defineBench } from '@moestack/tooling/bench';

const STEPS = 1000;
const SIZES = [64, 256, 1024];

type Request = Parameters<Scheduler['submit']>[0];

/** Steps of `sequences` requests for ever: those that end are replaced, each with what `more` says of the one of that number. */
function steady(
  scheduler: Scheduler,
  sequences: number,
  more: (index: number) => Partial<Request>,
): () => void {
  const outcomes = { tokens: new Int32Array(sequences), finished: new Uint8Array(sequences) };
  let submitted = 0;
  const step = (): void => {
    while (scheduler.stats.active < sequences) {
      // Spread lengths, so that ends do not fall on one step.
      const maxNewTokens = 1024 + ((submitted * 37) % 1024);
      scheduler.submit({ promptTokens: 128, maxNewTokens, arrivalUs: 0, ...more(submitted++) });
    }
    const plan = scheduler.schedule(0);
    if (plan !== undefined) scheduler.complete(plan.stepId, outcomes, 0);
  };
  for (let i = 0; i < 3 * STEPS; i++) step();
  return () => {
    for (let i = 0; i < STEPS; i++) step();
  };
}

/** A stage that decodes. */
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
  return steady(scheduler, sequences, () => ({}));
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

/** 64 sequences with everything on: cached prefixes, tenants, micro-batches. */
function withEverything(): () => void {
  const sequences = 64;
  const scheduler = new Scheduler({
    blockSizeTokens: 16,
    maxWaiting: sequences,
    maxContextTokens: 4096,
    fairness: { maxTenants: 16 },
    stages: [
      {
        name: 'all',
        role: 'mixed',
        blocks: sequences * 256,
        tokenBudget: sequences + 256,
        maxSequences: sequences,
        prefixCache: true,
        microBatches: { minTokens: 8 },
      },
    ],
  });
  const prefix = Float64Array.from({ length: 8 }, (_, block) => block);
  return steady(scheduler, sequences, (submitted) => ({ prefix, tenant: submitted % 16 }));
}

/** Requests through a prefill and a decode stage on a virtual clock, decode steps fused up to the next event. */
function simulation(requests: number): () => void {
  return () => {
    let state = 1;
    const random = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const scheduler = new Scheduler({
      blockSizeTokens: 64,
      maxWaiting: requests,
      maxContextTokens: 1 << 17,
      stages: [
        { name: 'prefill', role: 'prefill', blocks: 1 << 14, tokenBudget: 8192, maxSequences: 32 },
        { name: 'decode', role: 'decode', blocks: 1 << 16, tokenBudget: 256, maxSequences: 256 },
      ],
    });
    const outcomes = { tokens: new Int32Array(256), finished: new Uint8Array(256) };
    const running: { stepId: number; endUs: number }[] = [];
    let submitted = 0;
    let arrivalUs = 0;
    while (scheduler.stats.finished < requests) {
      let nowUs = submitted < requests ? arrivalUs : Number.POSITIVE_INFINITY;
      for (const { endUs } of running) nowUs = Math.min(nowUs, endUs);
      for (let i = running.length - 1; i >= 0; i--) {
        if (running[i]!.endUs > nowUs) continue;
        scheduler.complete(running[i]!.stepId, outcomes, nowUs);
        running.splice(i, 1);
      }
      for (; submitted < requests && arrivalUs <= nowUs; submitted++) {
        const promptTokens = 200 + Math.floor(random() * 4000);
        scheduler.submit({ promptTokens, maxNewTokens: 1 + Math.floor(random() * 703), arrivalUs });
        arrivalUs -= Math.log(1 - random()) * 72_000;
      }
      let decode: { stepId: number; stepUs: number } | undefined;
      for (let plan = scheduler.schedule(nowUs); plan !== undefined; plan = scheduler.schedule(nowUs)) {
        const { stepId, kind, stage } = plan;
        if (kind === 'transfer') running.push({ stepId, endUs: nowUs + 3000 });
        else if (stage === 0) running.push({ stepId, endUs: nowUs + 2000 + 5 * plan.prefillTokens });
        else decode = { stepId, stepUs: 12_000 + 100 * plan.sequences };
      }
      if (decode === undefined) continue;
      let eventUs = submitted < requests ? arrivalUs : Number.POSITIVE_INFINITY;
      for (const { endUs } of running) eventUs = Math.min(eventUs, endUs);
      const until = Math.max(1, Math.ceil((eventUs - nowUs) / decode.stepUs));
      const steps = Math.min(scheduler.steadySteps(), until);
      if (steps > 1) scheduler.fuse(decode.stepId, steps);
      running.push({ stepId: decode.stepId, endUs: nowUs + decode.stepUs * Math.max(1, steps) });
    }
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
      cases: [
        ...SIZES.map((size) => ({ name: `${size} sequences`, unit: 'ms', run: decoding(size) })),
        { name: '64 sequences, everything on', unit: 'ms', run: withEverything() },
      ],
      ratios: [
        { name: 'growth 64 -> 1024', numerator: '1024 sequences', denominator: '64 sequences', aim: 16 },
        {
          name: 'everything on, over nothing',
          numerator: '64 sequences, everything on',
          denominator: '64 sequences',
        },
      ],
    },
    {
      name: 'simulated requests, about 130 decoding at a time',
      rounds: 3,
      cases: [5000, 20_000].map((requests) => ({
        name: `${requests} requests`,
        unit: 'requests/s',
        work: requests,
        run: simulation(requests),
      })),
      ratios: [
        { name: 'speed 20000 over 5000', numerator: '20000 requests', denominator: '5000 requests', aim: 1 },
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
