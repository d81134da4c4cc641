import { fixturePath } from '@moestack/fixtures';
import {
  inspectCheckpoint,
  inspectionHtml,
  inspectionTable,
  memorySource,
  openCheckpoint,
  serializeSafetensors,
} from '@moestack/fp8';
import { inspectCheckpoint as inspectDirectory } from '@moestack/fp8/node';
import type { CheckpointInspection } from '@moestack/schemas';
import { beforeAll, expect, test } from 'vitest';

let report: CheckpointInspection;
beforeAll(async () => {
  report = await inspectDirectory(fixturePath('model/interim-moe'));
});

/** Elements that must be closed, checked as a stack: the page is well formed. */
function unclosed(html: string): string[] {
  const open: string[] = [];
  for (const [, close, name, rest] of html.matchAll(/<(\/?)([a-z0-9]+)((?:"[^"]*"|'[^']*'|[^>"'])*)>/g)) {
    if (['meta', 'br', 'doctype'].includes(name!) || rest!.endsWith('/')) continue;
    if (close === '') open.push(name!);
    else if (open.at(-1) === name) open.pop();
    else return [`</${name}> closes <${open.at(-1)}>`];
  }
  return open;
}

test('the table names every role once, numbers as *, and the worst tensors', () => {
  const table = inspectionTable(report, { rows: 5 });
  expect(table).toMatch(/^201 tensors, 2 800 816 elements, 5.60 MB/);
  expect(table.match(/model\.layers\.\*\.mlp\.experts\.\*\.up_proj\.weight {2}/g)).toHaveLength(1);
  expect(table.match(/if quantised {2}/g)).toHaveLength(5);
  expect(table).toMatch(/\nif quantised: to e4m3fn with f32 scales of 128x128 blocks\n$/);
  expect(Math.max(...table.split('\n').map((line) => line.length))).toBeLessThan(180);
});

test('the page is well formed, loads nothing, runs nothing, and has its plots', () => {
  const html = inspectionHtml(report, { details: 12 });
  expect(unclosed(html)).toEqual([]);
  expect(html).not.toMatch(/<script|<link|<img|\bsrc=|\bhref=|url\(|https?:|\bon[a-z]+=/);
  expect(html).toContain("default-src 'none'");
  expect(html).toContain('prefers-color-scheme:dark');
  expect(html).toContain('width=device-width');
  expect(html.match(/<details>/g)).toHaveLength(12);
  expect(html.match(/<svg /g)!.length).toBeGreaterThanOrEqual(3 + 12);
  expect(html).not.toMatch(/NaN[^ ]|undefined|Infinity/);
  expect(html).toContain('189 tensors of smaller or no error');
});

test('names from the file cannot become markup or terminal commands', async () => {
  const name = `<img src=x onerror=alert(1)>&"'\u001b]0;title\u0007`;
  const data = Float32Array.of(1, 2, 3, 4);
  const file = serializeSafetensors([{ name, dtype: 'F32', shape: [2, 2], data }]);
  const checkpoint = await openCheckpoint({ 'model.safetensors': memorySource(file) });
  const hostile = await inspectCheckpoint(checkpoint, { source: '<b>model</b>' });
  const html = inspectionHtml(hostile);
  expect(unclosed(html)).toEqual([]);
  expect(html).not.toContain('<img');
  expect(html).not.toContain('<b>');
  expect(html).toContain('&#60;img src=x onerror=alert(1)&#62;&#38;&#34;&#39;');
  expect(html).not.toContain('\u001b');
  expect(inspectionTable(hostile)).not.toMatch(/(?!\n)\p{Cc}/u);
});

test('a checkpoint without numbers gives a report without plots', async () => {
  const file = serializeSafetensors([{ name: 'i', dtype: 'I8', shape: [2], data: new Int8Array(2) }]);
  const checkpoint = await openCheckpoint({ 'model.safetensors': memorySource(file) });
  const empty = await inspectCheckpoint(checkpoint);
  expect(inspectionHtml(empty)).not.toContain('<svg');
  expect(inspectionTable(empty)).toContain('1 tensors, 2 elements, 2 B (I8 2 B)');
});
