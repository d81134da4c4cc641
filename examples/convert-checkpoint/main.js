import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspectionHtml, inspectionTable } from '@moestack/fp8';
import { convertCheckpoint, inspectCheckpoint } from '@moestack/fp8/node';
import { tinyMoe } from '@moestack/tiny-moe';
import { evaluateModels } from 'moestack';

const [out = 'converted', text = fileURLToPath(new URL('speech.txt', import.meta.url))] =
  process.argv.slice(2);
const original = fileURLToPath(tinyMoe);
await mkdir(out, { recursive: true });

/** Converts, measures each tensor against what it was converted from, and the whole model on a text. */
async function convert(from, name, target) {
  const to = join(out, name);
  const { tensors, bytesWritten } = await convertCheckpoint({ from, to, target });
  console.log(`\n${to}: ${tensors} tensors as ${target}, ${(bytesWritten / 1e6).toFixed(2)} MB written`);

  const inspection = await inspectCheckpoint(to, { original: from });
  await writeFile(join(out, `${name}.html`), inspectionHtml(inspection));
  console.log(inspectionTable(inspection, { rows: 3 }));

  const record = await evaluateModels({
    subject: { path: to, name },
    baseline: { path: original, name: 'tiny-moe' },
    data: { path: text, license: 'MIT' },
    command: `node main.js ${process.argv.slice(2).join(' ')}`.trim(),
  });
  await writeFile(join(out, `${name}.json`), `${JSON.stringify(record, null, 2)}\n`);
  for (const { metric, of, value, unit = '' } of record.figures) {
    if (['perplexity', 'bits-per-byte', 'kl-divergence', 'top-1-agreement'].includes(metric)) {
      console.log(`${metric.padEnd(16)} ${of.padEnd(10)} ${value.toPrecision(5)} ${unit}`);
    }
  }
  return to;
}

const bf16 = await convert(original, 'tiny-moe-bf16', 'bf16');
await convert(bf16, 'tiny-moe-fp8-again', 'fp8-block');
