import { DetectError } from '../errors.js';

/** Imports an optional package, or says how to get it. */
export async function importPeer<T>(name: string, remedy: string): Promise<T> {
  try {
    // A variable keeps bundlers and the type checker from wanting the package.
    return (await import(/* @vite-ignore */ name)) as T;
  } catch (cause) {
    throw new DetectError({
      code: 'detect/missing-peer',
      message: `expected the package ${name} to be installed`,
      value: name,
      remedy,
      cause,
    });
  }
}

/** A failure inside a model's library. */
export function modelFailure(what: string, cause: unknown): DetectError {
  return new DetectError({
    code: 'detect/model',
    message: `${what}: ${cause instanceof Error ? cause.message.slice(0, 1000) : String(cause).slice(0, 1000)}`,
    remedy: 'check that the files are complete and of a supported kind',
    cause,
  });
}
