import { createRequire } from 'node:module';
import { ServingError } from '../errors.js';

/**
 * Path of the built worker. It is found by name, since it is an entry of its own, whatever file this code was bundled
 * into; and it always is the built one, since worker threads cannot run TypeScript.
 */
export function workerFile(): string {
  try {
    return createRequire(import.meta.url).resolve('@moestack/serving/embedded/worker');
  } catch (cause) {
    throw new ServingError({
      code: 'serving/no-worker',
      message: 'the worker of @moestack/serving is not there',
      remedy: 'install the package as published, or build it',
      cause,
    });
  }
}
