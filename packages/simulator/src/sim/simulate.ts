import { PrefixCache } from '@moestack/scheduler';
import { createStepCostModel } from '../cost/create-step-cost-model.js';
import { Deployment, Slo, Workload } from '../cost/deployment.js';
import { badConfig, read } from '../cost/read.js';
import { SimulatorError } from '../errors.js';
import { Accelerator } from '../hardware/accelerator.js';
import { kvBytesPerToken } from '../memory/memory-plan.js';
import { ModelShape } from '../model/model-shape.js';
import { blankRequest, type RequestSource } from '../workload/request-source.js';
import { syntheticRequests } from '../workload/synthetic.js';
import { Cluster } from './cluster.js';
import { rankLimits } from './limits.js';
import { distribution, poolResult } from './results.js';
import type { SimulateOptions, SimulationResult } from './simulate-options.js';

/** Events between two looks at the abort signal. */
const EVENTS_PER_SLICE = 20_000;

/**
 * Runs traffic through a deployment by events on a virtual clock. Every data-parallel rank has a real `Scheduler`; the ranks of a unit step
 * together; steps cost what the kernel models say.
 *
 * Same options, same result, to the bit.
 *
 * @throws SimulatorError `simulator/bad-config`, `simulator/out-of-memory`, `simulator/bad-trace` or `simulator/aborted`.
 *
 * @example
 * ```ts
 * import { accelerators, deepSeekV3, publishedDeployment, simulate } from '@moestack/simulator';
 *
 * const result = await simulate({
 *   accelerator: accelerators.h800, model: deepSeekV3, deployment: publishedDeployment('online'),
 *   workload: {
 *     requestsPerSecond: 20, cachedFraction: 0.5, arrivals: { kind: 'poisson' },
 *     inputTokens: { kind: 'fixed', tokens: 4000 }, outputTokens: { kind: 'fixed', tokens: 200 },
 *   },
 *   requestCount: 500,
 * });
 * console.log(result.ttftSeconds.p50, result.tpotSeconds.p50);
 * ```
 */
export async function simulate(options: SimulateOptions): Promise<SimulationResult> {
  const run = new Run(options);
  while (!run.advance(EVENTS_PER_SLICE)) {
    // Lets an abort and other work of the process through.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return run.result();
}

class Run {
  readonly #options: SimulateOptions;
  readonly #deployment: Deployment;
  readonly #cluster: Cluster;
  readonly #source: RequestSource;
  readonly #request = blankRequest();
  readonly #closed: boolean;
  readonly #slo: Slo | undefined;
  #nextArrivalUs = Number.POSITIVE_INFINITY;
  #firstArrivalUs = -1;
  #arrived = 0;
  #nowUs = 0;
  /** Users of closed traffic who may send now. */
  #ready = 0;

  constructor(options: SimulateOptions) {
    const accelerator = read(Accelerator, options.accelerator, 'accelerator');
    const model = read(ModelShape, options.model, 'model');
    const deployment = read(Deployment, options.deployment, 'deployment');
    this.#options = options;
    this.#deployment = deployment;
    this.#slo = options.slo === undefined ? undefined : read(Slo, options.slo, 'slo');
    const {
      maxContextTokens = 163_840,
      maxWaiting = 4096,
      prefixCacheBlocks = Number.POSITIVE_INFINITY,
    } = options;
    const { prefixBlockTokens = 512, timelineSteps = 0, singleSteps = false } = options;
    integerFrom(1, 'maxWaiting', maxWaiting);
    integerFrom(2, 'maxContextTokens', maxContextTokens);
    integerFrom(1, 'prefixBlockTokens', prefixBlockTokens);
    integerFrom(0, 'timelineSteps', timelineSteps);
    if (prefixCacheBlocks !== Number.POSITIVE_INFINITY)
      integerFrom(0, 'prefixCacheBlocks', prefixCacheBlocks);
    const context = { accelerator, model, deployment, maxContextTokens, maxWaiting };
    const { prefill, decode } = deployment;
    const decodeLimits = rankLimits(decode, prefill === null ? 'both' : 'decode', context);
    const prefillLimits = prefill === null ? decodeLimits : rankLimits(prefill, 'prefill', context);
    const costs = options.costs ?? {
      prefill: createStepCostModel({ accelerator, model, deployment, role: 'prefill' }),
      decode: createStepCostModel({ accelerator, model, deployment, role: 'decode' }),
    };
    const bytesPerToken = kvBytesPerToken(model, deployment.precision.attention, deployment.mtp);
    const { network, nvlink } = accelerator;
    const inside = prefill !== null && accelerator.gpusPerNvlinkDomain > accelerator.gpusPerServer;
    const link = inside ? nvlink : network;
    this.#cluster = new Cluster({
      deployment,
      prefillLimits,
      decodeLimits,
      costs: {
        ...costs,
        transferSeconds: (tokens) => link.alphaSeconds + (tokens * bytesPerToken) / link.bytesPerSecond,
      },
      cache: prefixCacheBlocks === 0 ? undefined : new PrefixCache(prefixCacheBlocks),
      prefixBlockTokens,
      slo: this.#slo,
      timelineSteps,
      singleSteps,
      closed: this.#closedUsers() > 0,
      onFinished: () => {
        this.#ready++;
      },
    });
    this.#source = this.#traffic();
    this.#closed = this.#closedUsers() > 0;
    if (this.#closed) this.#ready = this.#closedUsers();
    else this.#fetch();
  }

  /** Runs some events; true when nothing is left to happen. */
  advance(events: number): boolean {
    const { signal, onProgress } = this.#options;
    if (signal?.aborted === true) {
      throw new SimulatorError({
        code: 'simulator/aborted',
        message: 'expected the simulation to run to its end, it was aborted',
        value: this.#arrived,
        remedy: 'start it again without aborting',
        cause: signal.reason,
      });
    }
    const cluster = this.#cluster;
    for (let i = 0; i < events; i++) {
      if (this.#closed) this.#sendReady();
      if (this.#nextArrivalUs <= cluster.nextEventUs) {
        if (this.#nextArrivalUs === Number.POSITIVE_INFINITY) return true;
        this.#nowUs = this.#nextArrivalUs;
        this.#admit(this.#nowUs);
        this.#fetch();
      } else {
        this.#nowUs = cluster.nextEventUs;
        cluster.step(this.#nextArrivalUs);
      }
    }
    onProgress?.({
      arrived: this.#arrived,
      finished: cluster.finishedCount,
      timeSeconds: this.#nowUs / 1e6,
    });
    return false;
  }

  result(): SimulationResult {
    if (this.#arrived === 0) {
      throw new SimulatorError({
        code: 'simulator/bad-trace',
        message: 'expected at least 1 request, got an empty trace',
        value: 0,
        remedy: 'pass requests to simulate',
      });
    }
    const cluster = this.#cluster;
    const { prefill, decode } = this.#deployment;
    const durationUs = Math.max(1, cluster.lastFinishUs - Math.max(0, this.#firstArrivalUs));
    const seconds = durationUs / 1e6;
    const decodePool = poolResult(decode, cluster.decodeUnits, durationUs);
    const slo = this.#slo;
    const arrived = this.#arrived;
    return {
      arrived,
      finished: cluster.finishedCount,
      refused: { full: cluster.refusedFull, tooLong: cluster.refusedTooLong },
      durationSeconds: seconds,
      inputTokens: cluster.inputTokens,
      cachedTokens: cluster.cachedTokens,
      outputTokens: cluster.outputTokens,
      ttftSeconds: distribution(cluster.ttft),
      tpotSeconds: distribution(cluster.tpot),
      latencySeconds: distribution(cluster.latency),
      requestsPerSecond: cluster.finishedCount / seconds,
      outputTokensPerSecond: cluster.outputTokens / seconds,
      goodput:
        slo === undefined
          ? null
          : {
              share: cluster.withinSlo / arrived,
              requestsPerSecond: cluster.withinSlo / seconds,
            },
      meetsSlo:
        slo === undefined ? null : Math.min(cluster.ttftWithin, cluster.tpotWithin) >= slo.quantile * arrived,
      prefill: prefill === null ? decodePool : poolResult(prefill, cluster.prefillUnits, durationUs),
      decode: decodePool,
      timeline: cluster.timeline,
    };
  }

  #closedUsers(): number {
    const { concurrency, workload } = this.#options;
    if (concurrency !== undefined) {
      integerFrom(1, 'concurrency', concurrency);
      return concurrency;
    }
    return workload?.arrivals.kind === 'closed' ? workload.arrivals.concurrency : 0;
  }

  #traffic(): RequestSource {
    const { requests, workload, requestCount = 10_000, seed = 1 } = this.#options;
    if ((requests === undefined) === (workload === undefined)) {
      throw badConfig('expected either requests or workload', typeof requests, 'requests or workload');
    }
    if (requests !== undefined) return requests;
    integerFrom(1, 'requestCount', requestCount);
    return syntheticRequests(read(Workload, workload, 'workload'), { requests: requestCount, seed });
  }

  #fetch(): void {
    if (!this.#source.next(this.#request)) {
      this.#nextArrivalUs = Number.POSITIVE_INFINITY;
      return;
    }
    const { arrivalUs } = this.#request;
    if (!(arrivalUs >= this.#nowUs && arrivalUs <= Number.MAX_SAFE_INTEGER)) {
      throw new SimulatorError({
        code: 'simulator/bad-trace',
        message: `expected finite arrivals in ascending order, got ${arrivalUs} us after ${this.#nowUs} us`,
        value: arrivalUs,
        remedy: 'sort the trace by arrival',
      });
    }
    this.#nextArrivalUs = arrivalUs;
  }

  #sendReady(): void {
    while (this.#ready > 0) {
      if (!this.#source.next(this.#request)) {
        this.#ready = 0;
        return;
      }
      // A refused request leaves its user free to send the next one.
      if (this.#admit(this.#nowUs)) this.#ready--;
    }
  }

  #admit(nowUs: number): boolean {
    const { inputTokens, outputTokens, cachedTokens } = this.#request;
    if (!(isCount(inputTokens, 1) && isCount(outputTokens, 1) && isCount(cachedTokens, 0))) {
      throw new SimulatorError({
        code: 'simulator/bad-trace',
        message: `expected integers >= 1 for inputTokens and outputTokens and >= 0 for cachedTokens, got ${inputTokens}, ${outputTokens} and ${cachedTokens}`,
        value: [inputTokens, outputTokens, cachedTokens],
        remedy: `correct request ${this.#arrived} of the trace`,
      });
    }
    if (this.#firstArrivalUs < 0) this.#firstArrivalUs = nowUs;
    this.#arrived++;
    return this.#cluster.arrive(this.#request, nowUs);
  }
}

function isCount(value: number, least: number): boolean {
  return Number.isInteger(value) && value >= least;
}

function integerFrom(minimum: number, name: string, value: number): void {
  if (!Number.isInteger(value) || value < minimum || value > 1 << 30) {
    throw badConfig(
      `expected an integer from ${minimum} to ${1 << 30} for ${name}, got ${value}`,
      value,
      name,
    );
  }
}
