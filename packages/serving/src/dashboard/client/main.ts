import type { DashboardEvents, HelloEvent, LiveEvent, Sample, SloView } from '../protocol.js';
import { startChat } from './chat.js';
import { byId, element, fillRows, setText } from './dom.js';
import { authorization, type ConnectionState, followEvents } from './event-stream.js';
import { compact, duration, milliseconds, percent } from './format.js';
import { ExpertPanel } from './heatmap.js';
import { type ChartPoint, drawSpark, LineChart } from './line-chart.js';
import { PhaseBars } from './phase-bars.js';
import { followTheme } from './theme.js';
import { Timeline } from './timeline.js';

const sparkSamples = 90;

/** The page: state, and what to do when the server tells something. */
class Dashboard {
  readonly #experts = new ExpertPanel();
  readonly #timeline = new Timeline();
  readonly #phases = new PhaseBars();
  readonly #charts: readonly {
    chart: LineChart;
    values: (sample: Sample) => readonly (number | null)[];
    target: (slo: SloView) => number | null;
  }[];
  #samples: Sample[] = [];
  #hello: HelloEvent | undefined;
  #isPaused = false;
  /** Whether targets were met, to tell of changes. */
  #wasMet: boolean | undefined;

  constructor() {
    const spanSeconds = 300;
    const none = () => null;
    this.#charts = [
      {
        chart: new LineChart(byId('throughput-chart'), {
          title: 'Tokens per second',
          series: [
            { label: 'generated', color: 0, filled: true },
            { label: 'prompt', color: 4 },
          ],
          format: compact,
          atLeast: 10,
          spanSeconds,
        }),
        values: (sample) => [sample.generatedTokens, sample.promptTokens],
        target: none,
      },
      {
        chart: latencyChart('ttft-chart', 'Time to first token', 1, spanSeconds),
        values: (sample) => [sample.ttftP50, sample.ttftP90],
        target: (slo) => slo.ttftMs,
      },
      {
        chart: latencyChart('tpot-chart', 'Time per output token', 3, spanSeconds),
        values: (sample) => [sample.tpotP50, sample.tpotP90],
        target: (slo) => slo.tpotMs,
      },
      {
        chart: new LineChart(byId('queue-chart'), {
          title: 'Requests',
          series: [
            { label: 'running', color: 5, filled: true },
            { label: 'waiting', color: 1 },
          ],
          format: compact,
          atLeast: 4,
          spanSeconds,
        }),
        values: (sample) => [sample.running, sample.waiting],
        target: none,
      },
    ];
    const pause = byId<HTMLButtonElement>('pause');
    pause.addEventListener('click', () => {
      this.#isPaused = !this.#isPaused;
      pause.setAttribute('aria-pressed', String(this.#isPaused));
      if (!this.#isPaused) this.#showSamples();
    });
    followTheme(() => this.#experts.redraw());
  }

  /** The model that the chat asks. */
  get model(): string {
    return byId<HTMLSelectElement>('chat-model').value || (this.#hello?.model ?? '');
  }

  take<K extends keyof DashboardEvents>(name: K, data: DashboardEvents[K]): void {
    if (name === 'hello') this.#takeHello(data as HelloEvent);
    else if (name === 'live') this.#takeLive(data as LiveEvent);
    else if (this.#isPaused) return;
    else if (name === 'experts') this.#experts.update(data as DashboardEvents['experts'], this.#nowSeconds());
    else if (name === 'steps') this.#takeSteps(data as DashboardEvents['steps']);
  }

  #takeSteps({ spans, phases }: DashboardEvents['steps']): void {
    this.#timeline.update(spans);
    this.#phases.update(phases);
  }

  #nowSeconds(): number {
    return this.#samples.at(-1)?.atSeconds ?? 0;
  }

  #takeHello(hello: HelloEvent): void {
    this.#hello = hello;
    this.#samples = [...hello.samples];
    byId('chat-key-label').hidden = !hello.needsKey;
    const picker = byId<HTMLSelectElement>('chat-model');
    byId('chat-model-label').hidden = hello.models.length < 2;
    if ([...picker.options].map(({ value }) => value).join('\n') !== hello.models.join('\n')) {
      picker.replaceChildren(...hello.models.map((name) => new Option(name, name)));
    }
    this.#showSamples();
  }

  #takeLive(event: LiveEvent): void {
    const keep = this.#hello?.historySeconds ?? 300;
    this.#samples = [...this.#samples, event.sample].slice(-keep);
    if (this.#isPaused) return;
    this.#showSamples();
    byId('problem').hidden = event.problem === null;
    setText(byId('problem'), event.problem === null ? '' : `Requests fail: ${event.problem}`);
    this.#showStages(event);
    this.#showRequests(event);
  }

  #showSamples(): void {
    const hello = this.#hello;
    if (hello === undefined) return;
    const { slo } = hello;
    for (const { chart, values, target } of this.#charts) {
      const points: ChartPoint[] = this.#samples.map((sample) => ({
        atSeconds: sample.atSeconds,
        values: values(sample),
      }));
      chart.update(points, target(slo));
    }
    const sample = this.#samples.at(-1);
    const up = sample === undefined ? '' : ` · up ${duration(sample.atSeconds - hello.startedAtSeconds)}`;
    const names = hello.models.length > 1 ? `${hello.models.length} models` : hello.model;
    const context = hello.contextTokens === null ? '' : ` · context ${hello.contextTokens}`;
    setText(byId('model'), `${names} · ${hello.backend}${context}${up}`);
    document.title = `${hello.model} – moestack`;
    if (sample !== undefined) this.#showCards(sample, slo);
  }

  #showCards(sample: Sample, slo: SloView): void {
    const tail = this.#samples.slice(-sparkSamples);
    const spark = (id: string, pick: (one: Sample) => number | null) =>
      drawSpark(byId(`${id}-spark`) as unknown as SVGElement, tail.map(pick), sparkSamples);
    setText(byId('generated'), compact(sample.generatedTokens));
    setText(byId('generated-note'), `${compact(sample.promptTokens)} prompt tokens/s`);
    spark('generated', (one) => one.generatedTokens);
    showLatency('ttft', sample.ttftP90, sample.ttftP50, slo.ttftMs);
    spark('ttft', (one) => one.ttftP90);
    showLatency('tpot', sample.tpotP90, sample.tpotP50, slo.tpotMs);
    spark('tpot', (one) => one.tpotP90);
    const hasTargets = slo.ttftMs !== null || slo.tpotMs !== null;
    byId('slo-card').hidden = !hasTargets;
    setText(byId('attained'), percent(sample.attained));
    setText(byId('attained-note'), `of the last ${this.#hello?.windowSeconds ?? 0} s`);
    byId('slo-card').dataset['state'] =
      sample.attained === null ? '' : sample.attained >= 0.9 ? 'good' : 'bad';
    spark('attained', (one) => one.attained);
    setText(byId('running'), compact(sample.running));
    setText(
      byId('waiting-note'),
      sample.waiting === 0 ? 'none waiting' : `${compact(sample.waiting)} waiting`,
    );
    spark('running', (one) => one.running);
    setText(byId('kv'), percent(sample.kvUse));
    this.#announce(sample);
  }

  /** Says when requests begin to miss their targets, and when they meet them again. */
  #announce({ attained }: Sample): void {
    if (attained === null) return;
    const isMet = attained >= 0.9;
    if (this.#wasMet !== undefined && this.#wasMet !== isMet) {
      setText(
        byId('announcements'),
        isMet
          ? 'Latency targets are met again.'
          : `Only ${percent(attained)} of requests meet the latency targets.`,
      );
    }
    this.#wasMet = isMet;
  }

  #showStages({ stages, targets }: LiveEvent): void {
    setText(
      byId('kv-note'),
      stages.length === 0
        ? 'not reported'
        : stages.map(({ stage, usedBlocks }) => `${stage} ${compact(usedBlocks)}`).join(' · '),
    );
    byId('kv-bars').replaceChildren(
      ...stages.map(({ usedBlocks, totalBlocks }) => {
        const bar = element('div', { className: 'bar' });
        const fill = element('span');
        fill.style.width = `${((usedBlocks / Math.max(1, totalBlocks)) * 100).toFixed(1)}%`;
        bar.append(fill);
        return bar;
      }),
    );
    byId('targets').hidden = targets.length === 0;
    fillRows(
      byId('targets-rows'),
      targets.map((target) => [
        target.name,
        target.state,
        String(target.inFlight),
        compact(target.requests),
        compact(target.failures),
      ]),
    );
  }

  #showRequests({ recent, totals }: LiveEvent): void {
    const parts = [
      `${compact(totals.requests)} ${totals.requests === 1 ? 'request' : 'requests'}`,
      `${compact(totals.refused)} refused`,
      `${compact(totals.failed)} failed`,
      `${compact(totals.generatedTokens)} tokens generated`,
      ...(totals.promptTokens > 0
        ? [`${percent(totals.cachedTokens / totals.promptTokens)} of prompts cached`]
        : []),
      ...(totals.preemptions === null ? [] : [`${compact(totals.preemptions)} preemptions`]),
    ];
    setText(byId('totals'), parts.join(' · '));
    if (recent.length === 0) return;
    fillRows(
      byId('requests-rows'),
      recent.map((request) => [
        `${request.endpoint.replace('/v1/', '')} ${request.id.slice(0, 8)}`,
        request.outcome === 'ok' ? 'ok' : `${request.outcome} (${request.status})`,
        request.promptTokens === null ? '–' : compact(request.promptTokens),
        compact(request.generatedTokens),
        milliseconds(request.ttftMs),
        milliseconds(request.tpotMs),
        milliseconds(request.durationMs),
      ]),
    );
  }
}

function latencyChart(id: string, title: string, color: number, spanSeconds: number): LineChart {
  return new LineChart(byId(id), {
    title,
    series: [
      { label: 'p50', color: 5 },
      { label: 'p90', color },
    ],
    format: milliseconds,
    atLeast: 1,
    spanSeconds,
  });
}

function showLatency(id: string, p90: number | null, p50: number | null, target: number | null): void {
  setText(byId(id), milliseconds(p90));
  const median = p50 === null ? '' : `p50 ${milliseconds(p50)}`;
  const aim = target === null ? '' : `target ${milliseconds(target)}`;
  setText(byId(`${id}-note`), [median, aim].filter((text) => text !== '').join(' · ') || '\u00a0');
  byId(`${id}-card`).dataset['state'] = p90 === null || target === null ? '' : p90 <= target ? 'good' : 'bad';
}

function showState(state: ConnectionState, retrySeconds: number): void {
  byId('connection').dataset['state'] = state;
  const texts = {
    connecting: 'Connecting',
    live: 'Live',
    lost: `Connection lost, next try in ${Math.round(retrySeconds)} s`,
    locked: 'Locked',
  };
  setText(byId('connection-text'), texts[state]);
  byId('key-form').hidden = state !== 'locked';
  byId('main').hidden = state === 'locked';
}

/** Saves the trace; a link could not bring the key along. */
async function saveTrace(key: string): Promise<void> {
  const response = await fetch('debug/trace', { headers: authorization(key) });
  if (!response.ok) {
    setText(
      byId('announcements'),
      'The trace is not to be had: tracing is off or the key does not allow it.',
    );
    return;
  }
  const link = element('a');
  link.href = URL.createObjectURL(await response.blob());
  link.download = 'moestack-trace.json';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

let key = '';
const dashboard = new Dashboard();
const reconnect = followEvents(() => key, {
  onEvent: (name, data) => dashboard.take(name, data),
  onState: showState,
});
byId<HTMLFormElement>('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  key = byId<HTMLInputElement>('key').value;
  reconnect();
});
byId('trace').addEventListener('click', () => void saveTrace(key));
startChat({ model: () => dashboard.model, key: () => key });
