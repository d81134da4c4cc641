import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { explore } from './explore.js';
import { renderPage } from './page.js';
import { formatText } from './text.js';
import { readTrace } from './trace.js';

const usage = `node main.js [options]
  --trace FILE            routing trace (default: traces/synthetic.json)
  --step N --layer N      record of the trace (default: the first)
  --nodes N               nodes (default 4)
  --ranks-per-node N      ranks of a node (default 4)
  --hidden N              channels of a row (default 1024)
  --payload bf16|fp8|f32  payload of dispatch (default bf16)
  --out FILE              page to write (default: dispatch.html)
  --json                  print the traffic reports instead of text`;

function integer(name, text, least, most) {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new Error(`expected an integer from ${least} to ${most} for --${name}, got ${text}`);
  }
  return value;
}

try {
  const { values } = parseArgs({
    options: {
      trace: { type: 'string', default: fileURLToPath(new URL('traces/synthetic.json', import.meta.url)) },
      step: { type: 'string' },
      layer: { type: 'string' },
      nodes: { type: 'string', default: '4' },
      'ranks-per-node': { type: 'string', default: '4' },
      hidden: { type: 'string', default: '1024' },
      payload: { type: 'string', default: 'bf16' },
      out: { type: 'string', default: 'dispatch.html' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
  } else {
    const which = {
      ...(values.step === undefined ? {} : { step: integer('step', values.step, 0, 2 ** 31) }),
      ...(values.layer === undefined ? {} : { layer: integer('layer', values.layer, 0, 65_535) }),
    };
    const trace = await readTrace(values.trace, which);
    const result = await explore(trace, {
      nodes: integer('nodes', values.nodes, 1, 64),
      ranksPerNode: integer('ranks-per-node', values['ranks-per-node'], 1, 64),
      hidden: integer('hidden', values.hidden, 1, 16_384),
      payload: values.payload,
    });
    writeFileSync(values.out, renderPage(result));
    if (values.json) {
      console.log(JSON.stringify(result.modes.map(({ report }) => report)));
    } else {
      console.log(`${formatText(result)}\n\nwrote ${values.out}`);
    }
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  console.error(`\n${usage}`);
  process.exitCode = 2;
}
