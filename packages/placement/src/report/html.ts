import { escapeHtml, htmlPage } from '@moestack/schemas/html';
import { badShape } from '../operands.js';
import type { PlanEvaluation } from './evaluation.js';
import { gapPlot, gpuPlot, heatLegend, heatmap, migrationPlot } from './plots.js';
import { style } from './style.js';
import { percent, short } from './svg.js';

/** A plan under the name it has in the report. */
export interface NamedEvaluation {
  readonly name: string;
  readonly evaluation: PlanEvaluation;
}

/** What {@link placementHtml} shows. */
export interface PlacementReport {
  /** What was recorded: `expert_distribution_recorder_1764000000.pt`. */
  readonly title: string;
  /** The plan in force. */
  readonly before: NamedEvaluation;
  /** The plan to switch to. */
  readonly after: NamedEvaluation;
  /** Further plans for the table. */
  readonly others?: readonly NamedEvaluation[];
  /** Index in the model of each layer; default their rows. */
  readonly layerIds?: readonly number[];
}

/** A report of two plans as one HTML page: plots as inline SVG, light and dark, no script, nothing loaded. */
export function placementHtml(report: PlacementReport): string {
  const { title, before, after, others = [] } = report;
  const { layers, deployment } = after.evaluation.plan;
  const { layerIds = Array.from({ length: layers }, (_, layer) => layer) } = report;
  if (before.evaluation.plan.layers !== layers || layerIds.length !== layers) {
    throw badShape(
      `expected plans and ids of ${layers} layers`,
      [before.evaluation.plan.layers, layerIds.length],
      'pass plans of one model',
    );
  }
  const { nodes, gpus, replicas } = deployment;
  const experts = after.evaluation.plan.logicalCount.length / layers;
  const facts = `${layers} MoE layers, ${experts} experts, ${replicas} replicas on ${gpus} GPUs of ${nodes} ${nodes === 1 ? 'node' : 'nodes'}`;
  const body = `<header>
<p class="quiet">Expert placement: ${escapeHtml(before.name)} to ${escapeHtml(after.name)}</p>
<h1>${escapeHtml(title)}</h1>
<p class="quiet">${facts}</p>
</header>
${tiles(before.evaluation, after.evaluation)}
<section>
<h2>Plans</h2>
<p class="quiet">Highest GPU load over the mean, mean of layers; the gap is to the proven lower bound of each layer.</p>
<div class="scroll">${table([before, ...others, after], after)}</div>
</section>
<section>
<h2>Load per GPU</h2>
<p class="quiet">Relative to the mean of all GPUs, mean of layers.</p>
${key(before.name, after.name, '<span><i class="line" style="background:var(--bound)"></i>mean</span>', true)}
${gpuPlot(before.evaluation, after.evaluation)}
</section>
<section>
<h2>Load by layer and GPU</h2>
<p class="quiet">Layers from top to bottom, GPUs from left to right, relative to the mean of the layer.</p>
<div class="pair">
<div><h3>${escapeHtml(before.name)}</h3>${heatmap(before.evaluation.loads, gpus, 'Load by layer and GPU before')}</div>
<div><h3>${escapeHtml(after.name)}</h3>${heatmap(after.evaluation.loads, gpus, 'Load by layer and GPU after')}</div>
</div>
${heatLegend()}
</section>
<section>
<h2>Layers against their bound</h2>
${key(before.name, after.name, '<span><i class="line" style="background:var(--bound)"></i>proven lower bound</span>')}
${gapPlot(before.evaluation, after.evaluation, layerIds)}
</section>
${timeline(after.evaluation, layerIds)}`;
  return htmlPage({ title: `Expert placement of ${title}`, style, body });
}

function tiles(before: PlanEvaluation, after: PlanEvaluation): string {
  const highest = ({ report }: PlanEvaluation) => 1 + report.balance.maxViolation;
  const { migration } = after;
  const values: [string, string][] = [
    [`${highest(before).toFixed(3)} → ${highest(after).toFixed(3)}`, 'highest load / mean'],
    [percent(1 - highest(after) / highest(before)), 'less load on the busiest GPU'],
    [percent(after.report.gap, 2), `above the bound, worst layer ${percent(after.report.worstGap, 2)}`],
    [
      `${before.report.internodeCopies.toFixed(2)} → ${after.report.internodeCopies.toFixed(2)}`,
      'expected copies between nodes per token',
    ],
  ];
  if (migration !== undefined) {
    values.push([percent(migration.share), `of replicas move: ${short(migration.bytes / 1e9)} GB`]);
  }
  return `<div class="tiles">${values.map(([value, text]) => `<div><b>${value}</b><span>${text}</span></div>`).join('')}</div>`;
}

function table(plans: readonly NamedEvaluation[], chosen: NamedEvaluation): string {
  const header = [
    'plan',
    'highest / mean',
    'worst layer',
    'gap to bound',
    'copies between nodes',
    'replicas moved',
    'longest step',
  ];
  const rows = plans.map((plan) => {
    const { report, migration } = plan.evaluation;
    const cells = [
      escapeHtml(plan.name),
      (1 + report.balance.maxViolation).toFixed(4),
      (1 + report.balance.worstViolation).toFixed(4),
      percent(report.gap, 2),
      report.internodeCopies.toFixed(3),
      migration === undefined ? '-' : `${migration.received} (${percent(migration.share)})`,
      migration === undefined ? '-' : `${short(migration.longestStepSeconds * 1000)} ms`,
    ];
    return `<tr${plan === chosen ? ' class="chosen"' : ''}>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  });
  return `<table><thead><tr>${header.map((cell) => `<th>${cell}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

function key(before: string, after: string, more: string, isLine = false): string {
  const old = isLine
    ? 'class="line" style="background:var(--ink);opacity:.55"'
    : 'style="background:var(--before)"';
  return (
    `<p class="key"><span><i ${old}></i>${escapeHtml(before)}</span>` +
    `<span><i style="background:var(--after)"></i>${escapeHtml(after)}</span>${more}</p>`
  );
}

function timeline(after: PlanEvaluation, layerIds: readonly number[]): string {
  const { migration } = after;
  if (migration === undefined) return '';
  const { sameGpu, sameNode, remote } = migration.transfers;
  const facts =
    `${remote} transfers between nodes, ${sameNode} within a node, ${sameGpu} within a GPU; ${migration.steps} ` +
    `${migration.steps === 1 ? 'step' : 'steps'}, the longest ${short(migration.longestStepSeconds * 1000)} ms.`;
  return `<section>
<h2>Migration, layer after layer</h2>
<p class="quiet">${facts} A layer switches when all its experts have arrived.</p>
${migrationPlot(after, layerIds)}
</section>`;
}
