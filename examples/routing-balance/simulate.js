import {
  addNoise,
  createBiasController,
  createLoadTracker,
  createRandom,
  createRouter,
  gammaUntil,
  loadMetrics,
  planDispatch,
  routerPreset,
} from '@moestack/routing';

const EXPERTS = 64;
const TOP_K = 6;
const NODES = 8;
const MAX_NODES = 4;

/**
 * Routes the same drifting, skewed tokens twice: with a bias that a controller keeps adjusting, and without.
 *
 * @param {{ steps: number, tokens: number, gamma: number, freezeAt: number, seed: number }} options
 */
export function simulate(options) {
  const { steps, tokens, gamma, freezeAt, seed } = options;
  const random = createRandom(seed);
  const config = routerPreset('deepseek-v3', {
    experts: EXPERTS,
    topK: TOP_K,
    groups: NODES,
    topKGroups: MAX_NODES,
  });
  const router = createRouter(config);
  const control = createBiasController({
    experts: EXPERTS,
    topK: TOP_K,
    gamma: gammaUntil(gamma, { steps: freezeAt }),
  });
  const zeros = new Float32Array(EXPERTS);
  // Some experts are liked by every token, and what is liked drifts as in training.
  const liking = addNoise(zeros, { kind: 'gaussian', deviation: 1 }, { random });
  const arms = {
    bias: { maxVio: [], tracker: createLoadTracker(EXPERTS), counts: new Int32Array(EXPERTS), maxRank: 0 },
    none: { maxVio: [], tracker: createLoadTracker(EXPERTS), counts: new Int32Array(EXPERTS), maxRank: 0 },
  };
  for (let step = 0; step < steps; step++) {
    addNoise(liking, { kind: 'gaussian', deviation: 0.02 }, { random, out: liking });
    const logits = addNoise(
      new Float32Array(tokens * EXPERTS),
      { kind: 'gaussian', deviation: 1 },
      { random },
    );
    for (let i = 0; i < logits.length; i++) logits[i] += liking[i % EXPERTS];
    for (const [name, arm] of Object.entries(arms)) {
      const { indices, counts } = router.route(logits, tokens, {
        bias: name === 'bias' ? control.bias : zeros,
      });
      arm.maxVio.push(arm.tracker.add(counts).maxVio);
      arm.counts = counts;
      const topology = { slots: EXPERTS, ranks: NODES * 2, nodes: NODES };
      const plan = planDispatch(indices, tokens, { topK: TOP_K, topology, maxNodes: MAX_NODES });
      arm.maxRank = loadMetrics(plan.tokensPerRank).maxVio;
      if (name === 'bias') control.update(counts);
    }
  }
  return { arms, bias: [...control.bias], experts: EXPERTS, topK: TOP_K };
}
