import { availableParallelism, totalmem } from 'node:os';
import { createEmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { CliError } from '../errors.js';
import type { Reporter } from '../reporter.js';
import { runTinyKernel } from '../run-tiny-kernel.js';

/** What a check found. A warning does not fail the command. */
export interface CheckResult {
  readonly name: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  readonly remedy?: string;
}

type Check = (signal: AbortSignal) => CheckResult | Promise<CheckResult>;

const minimumNode: readonly [number, number] = [20, 19];
const recommendedMemoryBytes = 1e9;

const checks: readonly Check[] = [checkNode, checkSimd, checkThreads, checkMemory, checkCores, checkModel];

/**
 * Checks whether this machine can serve.
 *
 * @throws {@link CliError} `cli/doctor-failed` when a check fails.
 */
export async function doctor(reporter: Reporter, signal: AbortSignal): Promise<void> {
  const failed: string[] = [];
  for (const check of checks) {
    const result = await check(signal);
    const advice = result.remedy === undefined ? '' : `; ${result.remedy}`;
    reporter.result({ event: 'check', ...result }, [
      `${result.status.padEnd(4)}  ${result.name.padEnd(20)}  ${result.detail}${advice}`,
    ]);
    if (result.status === 'fail') failed.push(result.name);
  }
  if (failed.length === 0) {
    reporter.result({ event: 'doctor', ok: true }, ['this machine can serve']);
    return;
  }
  throw new CliError({
    code: 'cli/doctor-failed',
    message: `${failed.length} of ${checks.length} checks failed: ${failed.join(', ')}`,
    value: failed,
    remedy: 'follow the advice beside each failed check',
  });
}

/** Whether a Node version is one this project supports. */
export function checkNode(_signal?: AbortSignal, version: string = process.versions.node): CheckResult {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isEnough = major > minimumNode[0] || (major === minimumNode[0] && minor >= minimumNode[1]);
  const name = 'Node.js version';
  if (isEnough) return { name, status: 'ok', detail: version };
  return {
    name,
    status: 'fail',
    detail: version,
    remedy: `install Node.js ${minimumNode.join('.')} or newer`,
  };
}

function checkSimd(): CheckResult {
  return checkKernel('WebAssembly SIMD', {
    shared: false,
    detail: 'supported',
    remedy: 'use a machine whose processor has SSE 4.1 or NEON, and start node without --jitless',
  });
}

function checkThreads(): CheckResult {
  return checkKernel('WebAssembly threads', {
    shared: true,
    detail: 'shared memory works',
    remedy: 'start node without --jitless',
  });
}

function checkKernel(
  name: string,
  options: { shared: boolean; detail: string; remedy: string },
): CheckResult {
  const { shared, detail, remedy } = options;
  try {
    runTinyKernel(shared);
    return { name, status: 'ok', detail };
  } catch (error) {
    return { name, status: 'fail', detail: error instanceof Error ? error.message : String(error), remedy };
  }
}

function checkMemory(): CheckResult {
  const constrained = process.constrainedMemory();
  const limit = constrained > 0 && constrained < totalmem() ? constrained : totalmem();
  const detail = `${(limit / 1e9).toFixed(1)} GB`;
  if (limit >= recommendedMemoryBytes) return { name: 'Memory', status: 'ok', detail };
  return { name: 'Memory', status: 'warn', detail, remedy: 'give the process at least 1 GB' };
}

function checkCores(): CheckResult {
  const cores = availableParallelism();
  const detail = `${cores} available`;
  if (cores >= 2) return { name: 'Processor cores', status: 'ok', detail };
  return {
    name: 'Processor cores',
    status: 'warn',
    detail,
    remedy: 'prefill and decode run side by side on two or more',
  };
}

async function checkModel(signal: AbortSignal): Promise<CheckResult> {
  const name = 'Default model';
  const startedMs = performance.now();
  try {
    const backend = await createEmbeddedBackend({
      modelDirectory: tinyMoe,
      name: 'tiny-moe',
      maxBatch: 4,
      signal,
    });
    const loadedMs = performance.now();
    try {
      const request = {
        requestId: 'doctor',
        model: 'tiny-moe',
        prompt: { type: 'text', text: 'The people of the United States' },
        maxTokens: 16,
        sampling: { temperature: 0 },
        stop: [],
      } as const;
      let tokens = 0;
      for await (const event of backend.generate(request, { signal })) {
        if (event.type === 'finish') tokens = event.usage.completionTokens;
      }
      const load = Math.round(loadedMs - startedMs);
      const run = Math.round(performance.now() - loadedMs);
      return { name, status: 'ok', detail: `loaded in ${load} ms, ${tokens} tokens in ${run} ms` };
    } finally {
      await backend.close();
    }
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { name, status: 'fail', detail, remedy: 'install moestack again' };
  }
}
