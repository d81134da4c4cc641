import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeRoutingTrace, encodeRoutingTrace } from '@moestack/routing/trace';
import { Int32Base64, TrafficReport } from '@moestack/schemas';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

const main = fileURLToPath(new URL('main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dispatch-explorer-'));
const page = join(folder, 'page.html');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(...options: string[]) {
  const env = { ...process.env, NODE_OPTIONS: '' };
  return spawnSync(process.execPath, [main, '--out', page, ...options], { encoding: 'utf8', env });
}

/** Distinct destinations of each token, counted from the trace alone. */
function destinations(nodes: number, ranksPerNode: number) {
  const file = new URL('traces/synthetic.json', import.meta.url);
  const { experts, topK, records } = JSON.parse(readFileSync(file, 'utf8'));
  const indices = z.decode(Int32Base64, records[0].indices);
  const ranks = nodes * ranksPerNode;
  const perRank = experts / ranks;
  const share = records[0].tokens / ranks;
  const sums = { direct: 0, hierarchical: 0 };
  for (let token = 0; token < records[0].tokens; token++) {
    const home = Math.floor(Math.floor(token / share) / ranksPerNode);
    const reached = new Set(
      [...indices.subarray(token * topK, (token + 1) * topK)].map((expert) => Math.floor(expert / perRank)),
    );
    const away = [...reached].map((rank) => Math.floor(rank / ranksPerNode)).filter((node) => node !== home);
    sums.direct += away.length;
    sums.hierarchical += new Set(away).size;
  }
  return sums;
}

describe('dispatch-explorer', () => {
  it('prints what crosses nodes in both modes, as the trace demands', () => {
    const { status, stdout } = run();
    const { direct, hierarchical } = destinations(4, 4);
    expect(status).toBe(0);
    expect(hierarchical).toBeLessThan(direct);
    expect(stdout).toMatch(
      new RegExp(`dispatch, between nodes +${direct} tokens, .* ${hierarchical} tokens, .*x less`),
    );
    expect(stdout).toContain('hierarchical: tokens that a rank sent to each rank');
  });

  it('writes a page that needs nothing else', () => {
    expect(run().status).toBe(0);
    const html = readFileSync(page, 'utf8');
    expect(html.match(/<svg /g)).toHaveLength(2);
    expect(html).toContain('light-dark(');
    expect(html).not.toMatch(/(src|href)=|https?:\/\/|@import|url\(/);
    expect(html.match(/class="ribbon inter"/g)?.length).toBeGreaterThan(100);
  });

  it('prints reports in the form of the schema', () => {
    const { status, stdout } = run('--json', '--nodes', '2', '--ranks-per-node', '8', '--payload', 'fp8');
    expect(status).toBe(0);
    const reports = z.array(TrafficReport).parse(JSON.parse(stdout));
    expect(reports.map(({ mode }) => mode)).toEqual(['direct', 'hierarchical']);
    const expected = destinations(2, 8);
    for (const { mode, dispatch } of reports) {
      expect(dispatch.total.inter.tokens).toBe(expected[mode as 'direct' | 'hierarchical']);
      expect(dispatch.total.inter.bytes).toBe(dispatch.total.inter.tokens * dispatch.messageBytes);
    }
  });

  it('reads the arrays of a trace from its sidecar', async () => {
    const text = readFileSync(new URL('traces/synthetic.json', import.meta.url), 'utf8');
    const { json, sidecar } = await encodeRoutingTrace(await decodeRoutingTrace(text), {
      sidecar: 'arrays.safetensors',
    });
    const file = join(folder, 'trace.json');
    writeFileSync(file, json);
    const missing = run('--trace', file);
    expect(missing.status).toBe(2);
    expect(missing.stderr).toContain('arrays.safetensors');
    writeFileSync(join(folder, 'arrays.safetensors'), sidecar!);
    const { status, stdout } = run('--trace', file, '--json');
    expect(status).toBe(0);
    expect(stdout).toBe(run('--json').stdout);
  });

  it('says what is wrong with its input', () => {
    const bad = join(folder, 'bad.json');
    writeFileSync(bad, '{"kind":"other"}');
    for (const [options, message] of [
      [['--nodes', '3'], '64 experts to divide evenly over 12 ranks'],
      [['--nodes', 'x'], 'expected an integer from 1 to 64 for --nodes, got x'],
      [['--nodes', '64'], 'at most 64 ranks'],
      [['--payload', 'fp4'], 'f32, bf16 or fp8'],
      [['--trace', bad], 'expected a routing trace, got at schemaVersion'],
      [['--layer', 'x'], 'expected an integer from 0 to 65535 for --layer, got x'],
      [['--layer', '9'], 'no record of layer 9; the file has step 0 layer 0'],
    ] as const) {
      const { status, stderr } = run(...options);
      expect(status).toBe(2);
      expect(stderr).toContain(message);
    }
  });
});
