import type { BackendHealth } from '../backend.js';
import type { Clock } from '../clock.js';
import type { SloTargets } from '../embedded/engine-stats.js';
import { askEngines, type EngineReport, type EngineSource } from '../metrics/engine-source.js';
import type { GatewayEvent, GatewayObserver } from '../observer.js';
import { EventFeed } from './event-feed.js';
import { LiveStats } from './live-stats.js';
import type { HelloEvent, SpanView, StepPhasesView, StepsEvent } from './protocol.js';
import { expertsEvent, StepFeed } from './views.js';

/** What the page shows of the server. */
export interface ServedModel {
  /** The first one. */
  readonly model: string;
  readonly models: readonly string[];
  /** Of the model with the longest; null where nobody tells. */
  readonly contextTokens: number | null;
  readonly backend: string;
}

/** Options of {@link Dashboard}. */
export interface DashboardOptions {
  readonly clock: Clock;
  readonly engines?: readonly EngineSource[];
  readonly slo?: SloTargets;
  /** Names of the backends of this process. */
  readonly localBackends?: readonly string[];
  /** Generating wants an API key, so the page asks for one. */
  readonly needsKey?: boolean;
  readonly describe: () => Promise<ServedModel>;
  /** What is wrong with the backends, if anything is. */
  readonly health?: () => BackendHealth;
}

/** Most spans that a new viewer gets. */
const keptSpans = 300;
/** Expert loads are sent every so many seconds. */
const expertsEvery = 2;

/** The live figures behind the page: a tick a second, whoever looks. */
export class Dashboard implements GatewayObserver {
  readonly #options: DashboardOptions;
  readonly #live: LiveStats;
  readonly #steps = new StepFeed();
  readonly #feed = new EventFeed();
  readonly #startedAtSeconds: number;
  #engines: readonly EngineReport[] = [];
  #spans: SpanView[] = [];
  /** The newest of each stage. */
  readonly #phases = new Map<string, StepPhasesView>();
  #ticks = 0;
  #timer: NodeJS.Timeout | undefined;
  #isTicking = false;

  constructor(options: DashboardOptions) {
    this.#options = options;
    const { clock, slo, localBackends } = options;
    this.#live = new LiveStats({
      clock,
      ...(slo !== undefined && { slo }),
      ...(localBackends !== undefined && { localBackends }),
    });
    this.#startedAtSeconds = options.clock.unixSeconds();
  }

  /** Pages that are connected. */
  get viewers(): number {
    return this.#feed.viewers;
  }

  observe(event: GatewayEvent): void {
    this.#live.observe(event);
  }

  /** Begins to tick; the timer keeps no process alive. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.tick(), 1000);
    this.#timer.unref();
  }

  /** Ends the ticks and the connections. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#feed.close();
  }

  /** Ends a second and tells the viewers. Does nothing while the tick before is not done. */
  async tick(): Promise<void> {
    if (this.#isTicking) return;
    this.#isTicking = true;
    try {
      this.#engines = await askEngines(this.#options.engines ?? []);
      const problem = this.#options.health?.().detail ?? null;
      this.#feed.send('live', { ...this.#live.tick(this.#engines), problem });
      const steps = this.#steps.next(this.#engines);
      this.#spans = [...this.#spans, ...steps.spans].slice(-keptSpans);
      for (const step of steps.phases) this.#phases.set(step.stage, step);
      if (steps.spans.length > 0) this.#feed.send('steps', steps);
      if (this.#ticks++ % expertsEvery === 0 && this.#engines.length > 0 && this.viewers > 0) {
        this.#feed.send('experts', expertsEvent(this.#engines, this.#options.clock));
      }
    } finally {
      this.#isTicking = false;
    }
  }

  /** Connects a viewer. */
  async connect(): Promise<Response> {
    const hello = await this.#hello();
    return this.#feed.connect({
      hello,
      ...(this.#engines.length > 0 && { experts: expertsEvent(this.#engines, this.#options.clock) }),
      ...(this.#spans.length > 0 && { steps: this.#past() }),
    });
  }

  #past(): StepsEvent {
    return { spans: this.#spans, phases: [...this.#phases.values()] };
  }

  async #hello(): Promise<HelloEvent> {
    const { slo, windowSeconds, historySeconds, samples } = this.#live;
    const toMs = (seconds: number | undefined) => (seconds === undefined ? null : seconds * 1000);
    return {
      ...(await this.#options.describe()),
      startedAtSeconds: this.#startedAtSeconds,
      slo: { ttftMs: toMs(slo.ttftSeconds), tpotMs: toMs(slo.tpotSeconds) },
      windowSeconds,
      historySeconds,
      samples,
      needsKey: this.#options.needsKey ?? false,
    };
  }
}
