import type { ExpertsEvent, MigrationView, StageExpertsView } from '../protocol.js';
import { byId, element, fillRows, setAttribute, setText } from './dom.js';
import { bytes, compact, duration, percent } from './format.js';
import { layerFigures, layerTotal, loadRatio, rankSlots, rankTokens, replicaCounts } from './load-figures.js';

/** Room for the layer's number. */
const gutter = 30;
/** Loads of this many times the mean and more have the hottest colour. */
const hottest = 4;

type Rgb = readonly [number, number, number];

/** The expert load of a stage: heatmap, table, the placement of a layer, the last migration. */
export class ExpertPanel {
  readonly #canvas = byId<HTMLCanvasElement>('heatmap');
  readonly #picker = byId<HTMLSelectElement>('experts-stage');
  readonly #tableButton = byId<HTMLButtonElement>('experts-view');
  #stages: readonly StageExpertsView[] = [];
  #layer = 0;
  #expert = 0;
  /** A cell was pointed at or chosen by key. */
  #isPointed = false;

  constructor() {
    this.#picker.addEventListener('change', () => this.#show());
    this.#tableButton.addEventListener('click', () => {
      const isTable = this.#tableButton.getAttribute('aria-pressed') !== 'true';
      this.#tableButton.setAttribute('aria-pressed', String(isTable));
      this.#show();
    });
    this.#canvas.addEventListener('pointermove', (event) => this.#pointAt(event));
    this.#canvas.addEventListener('pointerdown', (event) => this.#pointAt(event));
    this.#canvas.addEventListener('pointerleave', () => {
      this.#isPointed = false;
      this.#draw();
      this.#describe();
    });
    this.#canvas.addEventListener('keydown', (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(this.#canvas.parentElement!);
  }

  /** Takes what the server tells. */
  update({ stages, migration }: ExpertsEvent, nowSeconds: number): void {
    this.#stages = stages;
    const names = stages.map(({ stage }) => stage);
    if ([...this.#picker.options].map(({ value }) => value).join() !== names.join()) {
      this.#picker.replaceChildren(...names.map((name) => new Option(name, name)));
      const busiest = stages.findIndex(({ slots }) => slots.length > 0);
      this.#picker.selectedIndex = Math.max(0, busiest);
    }
    byId('stage-label').hidden = stages.length < 2;
    this.#show();
    showMigration(migration, nowSeconds);
  }

  /** Draws anew, with the colours that hold now. */
  redraw(): void {
    this.#draw();
  }

  #view(): StageExpertsView | undefined {
    return this.#stages[Math.max(0, this.#picker.selectedIndex)];
  }

  #show(): void {
    const view = this.#view();
    const isTable = this.#tableButton.getAttribute('aria-pressed') === 'true';
    byId('experts-plot').hidden = isTable || view === undefined;
    byId('experts-table').hidden = !isTable || view === undefined;
    byId('experts').hidden = view === undefined;
    if (view === undefined) return;
    this.#layer = Math.min(this.#layer, view.layers - 1);
    this.#expert = Math.min(this.#expert, view.experts - 1);
    const figures = Array.from({ length: view.layers }, (_, layer) => layerFigures(view, layer, 6));
    const used = figures.filter(({ total }) => total > 0);
    const mean = used.reduce((sum, { imbalance }) => sum + imbalance, 0) / Math.max(1, used.length);
    const tokens = compact(figures[0]?.total ?? 0);
    setText(
      byId('experts-note'),
      used.length === 0
        ? `${view.layers} layers of ${view.experts} experts; no tokens yet.`
        : `${view.layers} layers of ${view.experts} experts, ${tokens} selections a layer. Highest over mean load of an expert: ${mean.toFixed(2)}, mean over layers.`,
    );
    setAttribute(
      this.#canvas,
      'aria-label',
      `Heatmap of expert load, ${view.layers} layers by ${view.experts} experts. Highest over mean load ${mean.toFixed(2)}.`,
    );
    if (isTable) {
      fillRows(
        byId('experts-rows'),
        figures.map((layer, index) => [
          layerName(view, index),
          layer.imbalance.toFixed(2),
          layer.rankImbalance === null ? '–' : layer.rankImbalance.toFixed(2),
          String(layer.unused),
          layer.busiest.map(({ expert, ratio }) => `${expert} (${ratio.toFixed(1)}×)`).join('  '),
        ]),
      );
    } else {
      this.#draw();
      this.#describe();
    }
    this.#showPlacement(view);
  }

  #pointAt(event: PointerEvent): void {
    const view = this.#view();
    if (view === undefined) return;
    const box = this.#canvas.getBoundingClientRect();
    const expert = Math.floor(((event.clientX - box.left - gutter) / (box.width - gutter)) * view.experts);
    const layer = Math.floor(((event.clientY - box.top) / box.height) * view.layers);
    if (expert < 0 || expert >= view.experts || layer < 0 || layer >= view.layers) return;
    this.#point(layer, expert);
  }

  #key(event: KeyboardEvent): void {
    const view = this.#view();
    if (view === undefined) return;
    const moves: Readonly<Record<string, readonly [number, number]>> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      Home: [0, -view.experts],
      End: [0, view.experts],
    };
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const within = (value: number, count: number) => Math.max(0, Math.min(count - 1, value));
    this.#point(within(this.#layer + move[0], view.layers), within(this.#expert + move[1], view.experts));
  }

  #point(layer: number, expert: number): void {
    const isSameLayer = layer === this.#layer;
    this.#layer = layer;
    this.#expert = expert;
    this.#isPointed = true;
    this.#draw();
    this.#describe();
    const view = this.#view();
    if (!isSameLayer && view !== undefined) this.#showPlacement(view);
  }

  #describe(): void {
    const view = this.#view();
    const cell = byId('heatmap-cell');
    if (view === undefined || !this.#isPointed) {
      setText(cell, '\u00a0');
      return;
    }
    const tokens = view.tokens[this.#layer * view.experts + this.#expert] ?? 0;
    const share = tokens / Math.max(1, layerTotal(view, this.#layer));
    const ratio = loadRatio(view, this.#layer, this.#expert);
    const ranks = Array.from({ length: view.ranks }, (_, rank) => rank).filter((rank) =>
      rankSlots(view, this.#layer, rank).includes(this.#expert),
    );
    const where = view.slots.length === 0 ? '' : `, on rank ${ranks.join(' and ')}`;
    setText(
      cell,
      `Layer ${layerName(view, this.#layer)}, expert ${this.#expert}: ${compact(tokens)} selections (${percent(share)}), ${ratio.toFixed(2)} times the mean${where}`,
    );
  }

  #draw(): void {
    const view = this.#view();
    const canvas = this.#canvas;
    const width = canvas.clientWidth;
    if (view === undefined || width === 0) return;
    const rowHeight = Math.max(4, Math.min(20, Math.floor(320 / view.layers)));
    const height = rowHeight * view.layers;
    const ratio = devicePixelRatio;
    canvas.style.height = `${height}px`;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const context = canvas.getContext('2d');
    if (context === null) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(document.documentElement);
    const color = (name: string) => style.getPropertyValue(name).trim();
    const stops = ['--heat-low', '--heat-mid', '--heat-high'].map((name) => toRgb(color(name)));
    const cellWidth = (width - gutter) / view.experts;
    const gap = cellWidth >= 5 && rowHeight >= 6 ? 1 : 0;
    for (let layer = 0; layer < view.layers; layer++) {
      for (let expert = 0; expert < view.experts; expert++) {
        context.fillStyle = heat(loadRatio(view, layer, expert), stops);
        context.fillRect(gutter + expert * cellWidth, layer * rowHeight, cellWidth - gap, rowHeight - gap);
      }
    }
    context.fillStyle = color('--quiet');
    context.font = '10px system-ui, sans-serif';
    context.textBaseline = 'middle';
    const every = Math.ceil(12 / rowHeight);
    for (let layer = 0; layer < view.layers; layer += every) {
      context.fillText(`L${view.layerNames[layer] ?? layer}`, 2, layer * rowHeight + rowHeight / 2 + 0.5);
    }
    if (!this.#isPointed) return;
    context.strokeStyle = color('--ink');
    context.lineWidth = 2;
    context.strokeRect(
      gutter + this.#expert * cellWidth - 0.5,
      this.#layer * rowHeight - 0.5,
      Math.max(3, cellWidth),
      rowHeight,
    );
  }

  /** The slots of the chosen layer by rank. */
  #showPlacement(view: StageExpertsView): void {
    setText(
      byId('ranks-title'),
      view.slots.length === 0
        ? 'Placement'
        : `Placement of layer ${layerName(view, this.#layer)}, share of its load by rank`,
    );
    const host = byId('ranks');
    if (view.slots.length === 0) {
      host.replaceChildren(
        element('p', { className: 'quiet', text: `Stage ${view.stage} has one rank: it holds all experts.` }),
      );
      return;
    }
    const tokens = rankTokens(view, this.#layer);
    const total = tokens.reduce((sum, value) => sum + value, 0);
    const highest = Math.max(1e-9, ...tokens);
    const replicas = replicaCounts(view, this.#layer);
    host.replaceChildren(
      ...tokens.map((value, rank) => {
        const row = element('div', { className: 'rank' });
        const bar = element('span', { className: 'bar' });
        const fill = element('span');
        fill.style.width = `${((value / highest) * 100).toFixed(1)}%`;
        bar.append(fill);
        const slots = element('span', { className: 'slots' });
        for (const expert of rankSlots(view, this.#layer, rank)) {
          const isReplica = (replicas[expert] ?? 0) > 1;
          const slot = element('span', {
            className: isReplica ? 'slot replica' : 'slot',
            text: expert < 0 ? '·' : String(expert),
          });
          if (isReplica) slot.title = `expert ${expert} has ${replicas[expert]} replicas`;
          slots.append(slot);
        }
        row.append(
          element('span', { text: `Rank ${rank}` }),
          bar,
          element('span', { text: total === 0 ? '–' : percent(value / total) }),
          slots,
        );
        return row;
      }),
    );
  }
}

function showMigration(migration: MigrationView | null, nowSeconds: number): void {
  const rows: readonly (readonly [string, string])[] =
    migration === null
      ? [['None yet', '']]
      : [
          ['When', `${duration(nowSeconds - migration.atSeconds)} ago, stage ${migration.stage}`],
          ['Moved', `${count(migration.movedExperts, 'expert')} in ${count(migration.layers, 'layer')}`],
          ['Bytes', bytes(migration.movedBytes)],
          [
            'Highest rank over mean',
            `${migration.imbalanceBefore.toFixed(2)} → ${migration.imbalanceAfter.toFixed(2)}`,
          ],
        ];
  byId('migration').replaceChildren(
    ...rows.flatMap(([name, value]) => [element('dt', { text: name }), element('dd', { text: value })]),
  );
}

function count(value: number, name: string): string {
  return `${value} ${name}${value === 1 ? '' : 's'}`;
}

function layerName(view: StageExpertsView, layer: number): string {
  return String(view.layerNames[layer] ?? layer);
}

/** The colour of a registered property: `rgb(141, 184, 226)`. */
function toRgb(color: string): Rgb {
  const [red = 0, green = 0, blue = 0] = (color.match(/\d+/g) ?? []).map(Number);
  return [red, green, blue];
}

/** From low over mid (the mean is near it) to high. */
function heat(ratio: number, [low, mid, high]: readonly Rgb[]): string {
  const share = Math.min(1, Math.sqrt(ratio / hottest));
  const [from, to, at] = share < 0.5 ? [low!, mid!, share * 2] : [mid!, high!, share * 2 - 1];
  const channel = (index: 0 | 1 | 2) => Math.round(from[index] + (to[index] - from[index]) * at);
  return `rgb(${channel(0)} ${channel(1)} ${channel(2)})`;
}
