import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TrainConfig, TrainEvent } from '@moestack/schemas';
import { afterAll, describe, expect, it } from 'vitest';
import { tinyConfig } from './tiny-config.js';

const root = mkdtempSync(join(tmpdir(), 'moestack-interrupted-'));
afterAll(() => rmSync(root, { recursive: true }));

const entry = fileURLToPath(new URL('interrupted-entry.mjs', import.meta.url));
const module = new URL('synthetic-source.mjs', import.meta.url).href;

/** Runs in a process of its own, which is killed by SIGKILL right after it reported step `killAt`. */
async function run(
  config: TrainConfig,
  directory: string,
  killAt = 0,
): Promise<{ events: TrainEvent[]; signal: NodeJS.Signals | null }> {
  const child = spawn(process.execPath, [entry, JSON.stringify({ config, directory, module })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = new Promise<NodeJS.Signals | null>((resolve) => {
    child.once('close', (_, signal) => resolve(signal));
  });
  const events: TrainEvent[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as TrainEvent;
    events.push(event);
    if (event.type === 'step' && event.step === killAt) child.kill('SIGKILL');
  }
  return { events, signal: await closed };
}

function losses(events: readonly TrainEvent[]): Map<number, unknown> {
  const steps = events.filter((event) => event.type === 'step');
  return new Map(steps.map(({ step, loss, gradientNorm, maxVio }) => [step, { loss, gradientNorm, maxVio }]));
}

describe('a run killed by SIGKILL', () => {
  it.each([1, 2])('continues with the same bits on %i rank(s)', async (ranks) => {
    const config = tinyConfig({
      recipe: 'deepseek-v3',
      steps: 80,
      ranks,
      checkpoint: { everySteps: 7, keep: 2, milestones: [] },
    });
    const whole = await run(config, join(root, `whole-${ranks}`));
    expect(whole.events.at(-1)).toMatchObject({ type: 'end', reason: 'complete', step: 80 });
    const expected = losses(whole.events);
    expect(expected.size).toBe(80);
    const directory = join(root, `killed-${ranks}`);
    const seen = new Map<number, unknown>();
    for (const killAt of [16, 40]) {
      const { events, signal } = await run(config, directory, killAt);
      expect(signal).toBe('SIGKILL');
      for (const [step, values] of losses(events)) {
        // Steps after the last checkpoint are done again.
        if (seen.has(step)) expect(values).toEqual(seen.get(step));
        seen.set(step, values);
      }
    }
    const last = await run(config, directory);
    const start = last.events.find((event) => event.type === 'start');
    expect(start?.firstStep).toBeGreaterThanOrEqual(35);
    for (const [step, values] of losses(last.events)) seen.set(step, values);
    expect(seen).toEqual(expected);
  });
});
