import { EventEmitter } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { BenchmarkRecord } from '@moestack/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../src/index.js';

async function run(args: readonly string[], input?: string) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const stdin = input === undefined ? {} : { stdin: Readable.from([input]) };
  const code = await runCli(['detect', ...args], { stdout, stderr, signals: new EventEmitter(), ...stdin });
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

const NOTE = `I went down to the harbour on Tuesday because Dad had left his coat on the boat again, and he wasn't going to fetch it
himself with that knee. Nobody about except old Pettersson, who was mending something with wire and swearing at it. He said the
wind would turn by four. It turned at three. I got the coat, got soaked, and when I came home Dad was wearing another one.`;

let folder: string;
let data: string;
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'detect-commands-'));
  data = at('texts.jsonl');
  const records = Array.from({ length: 24 }, (_, i) => ({
    text: `${NOTE} It was day ${i} <b>&</b> ${'\u202e'} of ${i * 7}.`,
    label: i % 2 === 0 ? 'human' : 'ai',
    domain: i < 12 ? 'notes' : 'letters',
    pair: Math.floor(i / 2),
  }));
  writeFileSync(data, records.map((record) => JSON.stringify(record)).join('\n'));
  writeFileSync(at('note.txt'), NOTE);
  writeFileSync(
    at('code.py'),
    'def total(rows):\n    result = 0\n    for row in rows:\n        result += row.price\n    return result\n',
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('moestack detect', () => {
  it.each(['evaluate', 'audit', 'calibrate'])('%s --help shows an example of it', async (command) => {
    const { code, stdout } = await run([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`$ moestack detect ${command}`);
  });

  it('judges files and standard input', async () => {
    const { code, stdout } = await run([at('note.txt')]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/note\.txt: human, probability of AI \d+% \(\d+% to \d+%\), 72 words/);
    const json = JSON.parse((await run(['-', '--json', '--spans'], NOTE)).stdout);
    expect(json).toMatchObject({ event: 'verdict', file: '-', label: 'human' });
    expect(json.spans).toHaveLength(1);
  });

  it('judges source files by function, and says in SARIF why it does not', async () => {
    const { stdout } = await run([at('code.py'), '--sarif', at('out.sarif')]);
    expect(stdout).toContain('code.py:1 total: abstain');
    const [result] = JSON.parse(readFileSync(at('out.sarif'), 'utf8')).runs[0].results;
    expect(result).toMatchObject({ ruleId: 'ai-text', kind: 'notApplicable', level: 'none' });
    expect(result.locations[0].physicalLocation.region).toEqual({ startLine: 1, endLine: 5 });
  });

  it('writes pages without anything from elsewhere, texts escaped', async () => {
    await run([at('note.txt'), '--html', at('page.html')]);
    const record = await run(['evaluate', data, '--html', at('report.html'), '--out', at('record.json')]);
    expect(record.code).toBe(0);
    const html = readFileSync(at('report.html'), 'utf8');
    expect(html.match(/<svg /g)!.length).toBeGreaterThanOrEqual(4);
    for (const page of [html, readFileSync(at('page.html'), 'utf8')])
      expect(page).not.toMatch(/<script|<b>|NaN|undefined|Infinity|https?:|\u202e/);
    expect(
      BenchmarkRecord.parse(JSON.parse(readFileSync(at('record.json'), 'utf8'))).figures.length,
    ).toBeGreaterThan(3);
  });

  it('evaluates given scores in place of its own', async () => {
    writeFileSync(
      at('scores.jsonl'),
      [0, 1, 2, 3].map((i) => JSON.stringify({ text: `${i}`, label: i > 1 ? 1 : 0, score: i })).join('\n'),
    );
    const { stdout } = await run(['evaluate', at('scores.jsonl'), '--json', '--fpr', '0.5']);
    const result = JSON.parse(stdout.trim().split('\n').at(-1)!);
    expect(result).toMatchObject({
      event: 'evaluation',
      model: 'given scores',
      strata: { all: { auc: { auc: 1 } } },
    });
  });

  it('audits, and fails when told to', async () => {
    const { code, stdout } = await run(['audit', data]);
    expect(code).toBe(0);
    expect(stdout).toContain('near-duplicate');
    writeFileSync(
      at('bad.jsonl'),
      ['human', 'ai'].map((label) => JSON.stringify({ text: 'same text', label })).join('\n'),
    );
    expect(await run(['audit', at('bad.jsonl'), '--strict'])).toMatchObject({ code: 1 });
  });

  it('calibrates, and uses a calibration', async () => {
    expect((await run(['calibrate', data, '--out', at('calibration.json')])).code).toBe(0);
    const { stdout } = await run([at('note.txt'), '--calibration', at('calibration.json')]);
    expect(stdout).toContain('by your own calibration on 12 human and 12 AI texts');
    const other = { ...JSON.parse(readFileSync(at('calibration.json'), 'utf8')), model: 'other' };
    writeFileSync(at('other.json'), JSON.stringify(other));
    expect((await run([at('note.txt'), '--calibration', at('other.json')])).stderr).toContain(
      'cli/bad-options',
    );
  });

  it.each([
    [[], 'cli/no-input'],
    [['/nowhere.txt'], 'cli/bad-file'],
    [['note.txt', '--alpha', '0.5'], '0.01'],
    [['note.txt', '--html', '/nowhere/x.html'], 'cli/bad-output'],
    [['audit', '/nowhere'], 'cli/bad-file'],
    [['evaluate'], 'moestack detect evaluate --help'],
  ])('%j is refused with %s', async (args, expected) => {
    const { code, stderr } = await run(args);
    expect(code).toBe(1);
    expect(stderr).toContain(expected);
  });

  it('names the line of data that is wrong', async () => {
    for (const [line, problem] of [
      ['nonsense', 'line 1 is no JSON'],
      ['[]', 'line 1 is no object'],
      ['{"text": 1}', 'line 1 has no string "text"'],
      ['{"text": "a"}', 'no "label"'],
      ['{"text": "a", "label": "ai", "score": "x"}', 'no number'],
      ['', 'there are no lines'],
    ] as const) {
      writeFileSync(at('wrong.jsonl'), line);
      expect((await run(['audit', at('wrong.jsonl')])).stderr).toContain(problem);
    }
  });
});
