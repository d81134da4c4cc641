import type { TrainConfig } from '@moestack/schemas';
import { TrainingError } from './errors.js';
import type { TokenSource, TokenSourceSpec } from './types.js';

/** What a worker rank is told when it starts. */
export interface WorkerOrder {
  readonly config: TrainConfig;
  readonly directory: string;
  readonly sourceSpec: TokenSourceSpec;
  /** One shared word, not 0 when the run is to end. */
  readonly stop: Int32Array;
  readonly isTimed: boolean;
}

/** Imports the module of a spec and makes its source. */
export async function loadTokenSource({ module, options }: TokenSourceSpec): Promise<TokenSource> {
  const loaded = (await import(module)) as { createTokenSource?: unknown };
  if (typeof loaded.createTokenSource !== 'function') {
    throw new TrainingError({
      code: 'training/bad-config',
      message: `expected ${module} to export createTokenSource, got ${typeof loaded.createTokenSource}`,
      value: module,
      remedy: 'export function createTokenSource(options)',
    });
  }
  return (await loaded.createTokenSource(options)) as TokenSource;
}
