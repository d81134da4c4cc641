export {
  type EvaluatePlanOptions,
  evaluatePlan,
  type LayerMigration,
  type MigrationSummary,
  type PlanEvaluation,
} from './evaluation.js';
export { type HeatmapOptions, heatmapLines } from './heatmap-text.js';
export { type NamedEvaluation, type PlacementReport, placementHtml } from './html.js';
