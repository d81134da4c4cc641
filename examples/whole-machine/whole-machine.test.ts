import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ExpertLoad, Placement, RoutingTrace, TrafficReport } from '@moestack/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const here = fileURLToPath(new URL('.', import.meta.url));
const env = { ...process.env, NODE_OPTIONS: '' };
let folder: string;
const json = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));

describe('the whole machine', () => {
  let stdout: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'whole-machine-'));
    const run = spawnSync(process.execPath, [join(here, 'main.js'), folder], {
      env,
      encoding: 'utf8',
      timeout: 110_000,
    });
    expect(run.status, run.stdout + run.stderr).toBe(0);
    stdout = run.stdout;
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('counts in each file what the one before says', () => {
    const trace = RoutingTrace.parse(json('trace.json'));
    const load = ExpertLoad.parse(json('load.json'));
    const placement = Placement.parse(json('placement.json'));
    const traffic = TrafficReport.parse(json('traffic.json'));
    const selections = trace.records.reduce((sum, { tokens }) => sum + tokens * trace.topK, 0);
    expect(load.counts.reduce((sum, count) => sum + count, 0)).toBe(selections);
    expect(traffic.experts).toBe(placement.deployment.replicas);
    // A token goes once to a rank, whatever it has there, and at least once anywhere.
    const { self, intra, inter } = traffic.dispatch.total;
    const rows = self.tokens + intra.tokens + inter.tokens;
    expect(rows).toBeGreaterThan(selections / trace.topK);
    expect(rows).toBeLessThanOrEqual(selections + inter.tokens);
    expect(inter.bytes).toBe(inter.tokens * traffic.dispatch.messageBytes);
  });

  it('plans better than the order of numbers, and the simulation says what that is worth', () => {
    const { inOrder, planned, gpus } = json('outlook.json');
    expect(gpus).toBe(176);
    expect(planned.imbalance).toBeLessThan(inOrder.imbalance);
    expect(planned.ttftSeconds).toBeLessThan(inOrder.ttftSeconds);
  });

  it('serves on ranks that all work, behind a guardrail', () => {
    const { ranks, rows, answers } = json('answers.json');
    expect(rows).toHaveLength(ranks);
    expect(Math.min(...rows)).toBeGreaterThan(0);
    expect(answers.map(({ status }: { status: number }) => status)).toEqual([200, 200, 400]);
    expect(answers[0].text).not.toBe('');
    expect(stdout).toContain('blocked by a content policy');
  });

  it('stops at a file that does not fit, and says where', () => {
    const broken = { ...json('load.json'), experts: 7 };
    writeFileSync(join(folder, 'load.json'), JSON.stringify(broken));
    const step = join(here, 'steps/3-place.js');
    const { status, stderr } = spawnSync(process.execPath, [step, folder], { env, encoding: 'utf8' });
    expect(status).not.toBe(0);
    expect(stderr).toContain('load.json does not fit its schema');
    expect(stderr).toContain('expected layers x experts counts');
  });
});
