import type { EngineStats, StageExpertStats, StepRecord } from '../../src/embedded/engine-stats.js';

const bounds = [0.001, 0.01, 0.1, 1, 10];

function histogram(count: number, mean: number) {
  return { bounds, counts: bounds.map((bound) => (bound >= mean ? count : 0)), sum: count * mean, count };
}

/** Two micro-batches of two layers in 7 ms. */
function phasesFrom(startUs: number): StepRecord['phases'] {
  const order = ['attention', 'dispatch', 'experts', 'combine'] as const;
  return Array.from({ length: 16 }, (_, i) => ({
    phase: order[(i >> 1) % 4]!,
    layer: i >> 3,
    microBatch: i % 2,
    startUs: startUs + i * 400,
    endUs: startUs + i * 400 + 380,
  }));
}

/** A step of 12 ms, with the hand-over and the decode steps that come with it. */
function stepsOf(index: number): StepRecord[] {
  const startUs = index * 16_000;
  const halves = (sequences: number, tokens: number) => [
    { sequences: Math.ceil(sequences / 2), tokens: Math.ceil(tokens / 2) },
    { sequences: Math.floor(sequences / 2), tokens: Math.floor(tokens / 2) },
  ];
  const common = { fusedSteps: 1, stepId: index * 4, phases: [] };
  const decode = 12 + (index % 7);
  const steps: StepRecord[] = [0, 1].map((half) => ({
    ...common,
    stepId: index * 4 + half,
    stage: 'decode',
    kind: 'compute',
    startUs: startUs + half * 8000,
    endUs: startUs + half * 8000 + 7000,
    phases: phasesFrom(startUs + half * 8000),
    sequences: decode,
    prefillTokens: 0,
    decodeSequences: decode,
    microBatches: halves(decode, decode),
  }));
  if (index % 3 === 2) return steps;
  return [
    {
      ...common,
      stepId: index * 4 + 2,
      stage: 'prefill',
      kind: 'compute',
      startUs,
      endUs: startUs + 11_500,
      sequences: 3,
      prefillTokens: 420,
      decodeSequences: 0,
      microBatches: [{ sequences: 3, tokens: 420 }],
    },
    {
      ...common,
      stepId: index * 4 + 3,
      stage: 'decode',
      kind: 'transfer',
      startUs: startUs + 11_600,
      endUs: startUs + 13_400,
      sequences: 3,
      prefillTokens: 0,
      decodeSequences: 0,
      microBatches: [],
    },
    ...steps,
  ];
}

/** Loads that follow a power law, other experts first in each layer. */
function expertsOf(
  stage: string,
  seconds: number,
  atUs: number,
  options: { layers: number; experts: number },
): StageExpertStats {
  const { layers, experts } = options;
  const ranks = 4;
  const slotsPerRank = experts / ranks + 1;
  const tokens = Array.from({ length: layers }, (_, layer) =>
    Array.from({ length: experts }, (_, expert) => {
      const noise = (Math.imul(expert + 1, 2_654_435_761) ^ Math.imul(layer + 1, 1_597_334_677)) >>> 0;
      const share = (Math.imul(noise ^ (noise >>> 15), 2_246_822_519) >>> 0) / 2 ** 32;
      return Math.round(seconds * 60 * (0.2 + share * 0.9 + 3 * share ** 12));
    }),
  );
  const placement = tokens.map((row) => {
    const busiest = row
      .map((count, expert) => ({ count, expert }))
      .sort((a, b) => b.count - a.count)
      .slice(0, ranks)
      .map(({ expert }) => expert);
    const slots: number[] = [];
    for (let rank = 0; rank < ranks; rank++) {
      for (let expert = rank; expert < experts; expert += ranks) slots.push(expert);
      slots.push(busiest[rank]!);
    }
    return slots;
  });
  return {
    stage,
    ranks,
    layers: Array.from({ length: layers }, (_, layer) => layer + 1),
    tokens,
    placement,
    slotsPerRank,
    lastMigration: {
      atUs: atUs - 95e6,
      layers: 5,
      movedExperts: 23,
      movedBytes: 23 * 98_304,
      imbalanceBefore: 1.84,
      imbalanceAfter: 1.09,
    },
  };
}

/** What an engine under a steady, slightly waving load reports after so many seconds: for looks and for exact tests. */
export function sampleStats(
  seconds: number,
  options: { layers?: number; experts?: number } = {},
): EngineStats {
  const { layers = 12, experts = 64 } = options;
  const atUs = seconds * 1e6;
  const wave = Math.sin(seconds / 9) + 0.4 * Math.sin(seconds / 2.3);
  const running = Math.round(18 + 6 * wave);
  const used = Math.round(420 + 130 * wave);
  const generatedTokens = Math.round(seconds * 3300 - 5000 * Math.cos(seconds / 9));
  const firstStep = Math.max(0, Math.floor(atUs / 16_000) - 120);
  const stage = { ranks: 4, handoverWaiting: 0, steps: seconds * 120, busySeconds: seconds * 0.8 };
  const slo = {
    targets: { ttftSeconds: 0.2, tpotSeconds: 0.02 },
    windowSeconds: 30,
    requests: 300,
    attainment: 0.96,
    ttftAttainment: 0.97,
    tpotAttainment: 0.98,
    goodputRequestsPerSecond: 9.6,
    goodputTokensPerSecond: 3100,
  };
  return {
    atUs,
    uptimeSeconds: seconds,
    generatedTokens,
    promptTokens: Math.round(seconds * 2100 - 3000 * Math.cos(seconds / 7)),
    cachedTokens: Math.round(seconds * 610),
    prefixHitRate: 0.29,
    generatedTokensPerSecond: 3300,
    promptTokensPerSecond: 2100,
    waiting: Math.max(0, Math.round(4 * wave - 1)),
    running,
    finished: Math.round(seconds * 9),
    cancelled: 3,
    failed: 0,
    preemptions: 12,
    requeued: 0,
    ttftSeconds: histogram(seconds * 9, 0.08),
    tpotSeconds: histogram(seconds * 9, 0.006),
    interTokenSeconds: histogram(seconds * 300, 0.006),
    decodeBatchSize: histogram(seconds * 120, 8),
    slo,
    admission: { accepted: seconds * 9, shortened: 0, deferred: 2, refused: { ttft: 4, tpot: 0, queue: 1 } },
    handovers: seconds * 9,
    handoverBytes: seconds * 9 * 73_728,
    stages: [
      {
        ...stage,
        stage: 'prefill',
        role: 'prefill',
        tokenBudget: 512,
        maxSequences: 16,
        running: 3,
        blocksTotal: 256,
        blocksUsed: Math.round(60 + 30 * wave),
        blocksCached: 90,
      },
      {
        ...stage,
        stage: 'decode',
        role: 'decode',
        tokenBudget: 64,
        maxSequences: 64,
        running,
        blocksTotal: 1024,
        blocksUsed: used,
        blocksCached: 0,
      },
    ],
    experts: [
      expertsOf('prefill', seconds, atUs, { layers, experts }),
      expertsOf('decode', seconds * 1.5, atUs, { layers, experts }),
    ],
    timeline: Array.from({ length: Math.floor(atUs / 16_000) - firstStep }, (_, index) =>
      stepsOf(firstStep + index),
    ).flat(),
  };
}
