import { resolveConfig } from './config.js';
import { badConfig } from './operands.js';
import type { RouterConfig } from './types.js';

/** Names of published gates. */
export type RouterPreset =
  | 'deepseek-v2'
  | 'deepseek-v2-lite'
  | 'deepseek-v3'
  | 'kimi-k2'
  | 'mixtral'
  | 'qwen3-moe'
  | 'switch';

/** From the models' published configurations; `switch` is switch-base-128. */
const PRESETS: Readonly<Record<RouterPreset, RouterConfig>> = {
  'deepseek-v2': {
    experts: 160,
    topK: 6,
    groups: 8,
    topKGroups: 3,
    scoring: 'softmax',
    groupScore: 'max',
    normalize: false,
    routedScalingFactor: 16,
  },
  'deepseek-v2-lite': { experts: 64, topK: 6, scoring: 'softmax', normalize: false },
  'deepseek-v3': {
    experts: 256,
    topK: 8,
    groups: 8,
    topKGroups: 4,
    scoring: 'sigmoid',
    groupScore: 'top2Sum',
    normalize: true,
    routedScalingFactor: 2.5,
  },
  'kimi-k2': { experts: 384, topK: 8, scoring: 'sigmoid', normalize: true, routedScalingFactor: 2.827 },
  mixtral: { experts: 8, topK: 2, scoring: 'softmax', softmaxOrder: 'after' },
  'qwen3-moe': { experts: 128, topK: 8, scoring: 'softmax', normalize: true },
  switch: { experts: 128, topK: 1, scoring: 'softmax', normalize: false },
};

/**
 * Configuration of a published gate, with changes.
 *
 * A change of sizes that the preset's groups do not fit is an error, unless the change gives groups too.
 *
 * @example
 * ```ts
 * import { createRouter, routerPreset } from '@moestack/routing';
 *
 * const router = createRouter(routerPreset('deepseek-v3', { experts: 64, topK: 4 }));
 * console.log(router.config.topKGroups); // 4 of 8 groups, as published
 * ```
 */
export function routerPreset(name: RouterPreset, overrides: Partial<RouterConfig> = {}): RouterConfig {
  if (!Object.hasOwn(PRESETS, name)) {
    throw badConfig(
      `expected one of ${Object.keys(PRESETS).join(', ')} for the preset, got ${String(name)}`,
      name,
      'pass a preset by its name, or a whole configuration to createRouter',
    );
  }
  const config: RouterConfig = { ...PRESETS[name] };
  if (overrides.topology !== undefined) {
    // Nodes take the place of the preset's groups, with their own score.
    delete config.groups;
    delete config.topKGroups;
    delete config.groupScore;
  }
  Object.assign(config, overrides);
  resolveConfig(config);
  return config;
}
