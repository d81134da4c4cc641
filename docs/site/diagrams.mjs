// Draws docs/images/*.svg: `pnpm run diagrams`. The pictures are committed, since repositories and packages show them unbuilt.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { arrow, box, drawing, frame, text } from './draw.mjs';

const fp8Recipe = drawing(
  {
    width: 760,
    height: 330,
    title:
      'The FP8 recipe: activations in tiles of 1 by 128, weights in blocks of 128 by 128, products promoted to float32 every 128 terms',
  },
  box(10, 30, 130, 50, ['Activations', 'BF16 [T, in]'], 'plain'),
  box(190, 30, 160, 50, ['Tiles 1 x 128', 'E4M3 + a scale each'], 'blue'),
  box(10, 130, 130, 50, ['Master weights', 'float32 [out, in]'], 'plain'),
  box(190, 130, 160, 50, ['Blocks 128 x 128', 'E4M3 + a scale each'], 'blue'),
  box(410, 60, 150, 90, ['Tensor core', 'sums of 128 products', 'limited precision'], 'orange'),
  box(620, 60, 130, 90, ['Promotion', 'x scales, added', 'in float32'], 'green'),
  arrow([
    [140, 55],
    [190, 55],
  ]),
  arrow([
    [140, 155],
    [190, 155],
  ]),
  arrow([
    [350, 55],
    [380, 55],
    [380, 90],
    [410, 90],
  ]),
  arrow([
    [350, 155],
    [380, 155],
    [380, 120],
    [410, 120],
  ]),
  arrow(
    [
      [560, 105],
      [620, 105],
    ],
    { label: 'every', at: [590, 82] },
  ),
  text(590, 97, '128', { size: 12, color: 'muted' }),
  arrow([
    [685, 150],
    [685, 235],
  ]),
  box(620, 235, 130, 46, ['Output', 'BF16 [T, out]'], 'plain'),
  frame(10, 210, 560, 106, 'The same for the gradients'),
  box(
    24,
    240,
    250,
    60,
    ['dX = dY W', 'dY in tiles 1 x 128, W in its blocks', 'E4M3 for gradients too'],
    'violet',
  ),
  box(
    300,
    240,
    256,
    60,
    ['dW = dYᵀ X', 'both in tiles 128 x 1, along tokens', 'summed into float32 master gradients'],
    'violet',
  ),
);

const rankBox = (x, y, label, color) => box(x, y, 110, 44, label, color);
const dispatchCombine = drawing(
  {
    width: 760,
    height: 350,
    title:
      'Dispatch and combine by way of nodes: a token crosses to each other node once, then spreads there; results are summed on their way back',
  },
  frame(10, 20, 300, 250, 'node 0'),
  frame(450, 20, 300, 250, 'node 1'),
  rankBox(30, 60, ['rank 0', 'token t'], 'blue'),
  rankBox(30, 190, ['rank 1', 'expert 5'], 'green'),
  rankBox(180, 125, ['rank 2', 'expert 9'], 'green'),
  rankBox(470, 60, ['rank 4', 'receives t once'], 'blue'),
  rankBox(470, 190, ['rank 5', 'expert 22'], 'green'),
  rankBox(620, 125, ['rank 6', 'expert 25'], 'green'),
  arrow([
    [85, 104],
    [85, 190],
  ]),
  arrow([
    [140, 90],
    [180, 135],
  ]),
  arrow(
    [
      [140, 72],
      [470, 72],
    ],
    { label: 'once, FP8 + scales', at: [380, 62] },
  ),
  arrow([
    [525, 104],
    [525, 190],
  ]),
  arrow([
    [580, 90],
    [620, 135],
  ]),
  text(160, 262, 'within a node: NVLink', { size: 12, color: 'muted' }),
  text(600, 262, 'within a node: NVLink', { size: 12, color: 'muted' }),
  arrow(
    [
      [620, 305],
      [140, 305],
    ],
    {
      label: 'combine: the reverse way, BF16, weighted sums formed in each node first',
      at: [380, 298],
      dashed: true,
    },
  ),
  text(380, 335, 'direct mode would send t over the network once for each rank it goes to', {
    size: 12,
    color: 'muted',
  }),
);

const placementLoop = drawing(
  {
    width: 760,
    height: 330,
    title: 'The placement loop: count, forecast, plan, migrate, switch, select replicas, count again',
  },
  box(20, 30, 150, 56, ['Gate', 'logical expert ids'], 'blue'),
  box(215, 30, 150, 56, ['Count', 'ExpertLoadRecorder'], 'plain'),
  box(410, 30, 150, 56, ['Forecast', 'LoadForecast'], 'plain'),
  box(605, 30, 140, 56, ['Trigger', 'period, imbalance'], 'plain'),
  box(605, 140, 140, 56, ['Plan', 'rebalance'], 'orange'),
  box(410, 140, 150, 56, ['Migrate', 'planMigration'], 'orange'),
  box(215, 140, 150, 56, ['Switch', 'layer by layer'], 'orange'),
  box(20, 140, 150, 56, ['Select replicas', 'physical slots'], 'green'),
  box(20, 250, 150, 56, ['Dispatch', 'tokens to ranks'], 'green'),
  arrow([
    [170, 58],
    [215, 58],
  ]),
  arrow([
    [365, 58],
    [410, 58],
  ]),
  arrow([
    [560, 58],
    [605, 58],
  ]),
  arrow([
    [675, 86],
    [675, 140],
  ]),
  arrow([
    [605, 168],
    [560, 168],
  ]),
  arrow([
    [410, 168],
    [365, 168],
  ]),
  arrow([
    [215, 168],
    [170, 168],
  ]),
  arrow([
    [95, 86],
    [95, 140],
  ]),
  arrow([
    [95, 196],
    [95, 250],
  ]),
  text(290, 226, 'weights arrive in staging buffers; old slots serve until a layer is whole', {
    size: 12,
    color: 'muted',
    anchor: 'start',
  }),
  text(215, 282, 'or, outside the process: the plan as the file SGLang, vLLM-Ascend or TensorRT-LLM reads', {
    size: 12,
    color: 'muted',
    anchor: 'start',
  }),
);

/** Stages one after the other on one line: `[name, width, color]`. */
function lane(x, y, label, stages) {
  let at = x;
  return [
    text(10, y + 21, label, { anchor: 'start', size: 12, color: 'muted' }),
    stages.map(([name, width, color]) => {
      const part = name === '' ? [] : box(at, y, width - 3, 34, name, color);
      at += width;
      return part;
    }),
  ];
}
const [first, second] = ['blue', 'violet'];
const overlap = drawing(
  {
    width: 760,
    height: 360,
    title: 'Overlap of communication and computation with two micro-batches, in prefill and in decode',
  },
  text(10, 24, 'Prefill: a part of the processors computes, the rest communicates', {
    anchor: 'start',
    weight: 600,
  }),
  lane(80, 40, 'compute', [
    ['attention 1', 135, second],
    ['shared 0', 75, first],
    ['attention 0', 135, first],
    ['experts 1', 100, second],
    ['experts 0', 100, first],
    ['shared 1', 75, second],
  ]),
  lane(80, 82, 'network', [
    ['combine 0', 135, first],
    ['', 3],
    ['dispatch 1', 150, second],
    ['', 57],
    ['dispatch 0', 97, first],
    ['', 3],
    ['combine 1', 160, second],
  ]),
  text(10, 158, 'Decode: transfers run by themselves, all processors compute', {
    anchor: 'start',
    weight: 600,
  }),
  lane(80, 174, 'compute', [
    ['shared 0', 70, first],
    ['projections 1', 100, second],
    ['experts 0', 85, first],
    ['core attention 1, gate', 150, second],
    ['shared 1', 70, second],
    ['proj. 0', 70, first],
    ['experts 1', 85, second],
  ]),
  lane(80, 216, 'network', [
    ['dispatch 0', 170, first],
    ['', 85],
    ['combine 0', 150, first],
    ['dispatch 1', 140, second],
  ]),
  box(80, 284, 16, 16, '', first),
  text(104, 297, 'micro-batch 0', { anchor: 'start', size: 12, color: 'muted' }),
  box(210, 284, 16, 16, '', second),
  text(234, 297, 'micro-batch 1', { anchor: 'start', size: 12, color: 'muted' }),
  text(80, 332, 'Widths are not to scale. Only the experts stage of decode has nothing beside it.', {
    anchor: 'start',
    size: 12,
    color: 'muted',
  }),
);

const out = join(import.meta.dirname, '../images');
mkdirSync(out, { recursive: true });
const drawings = {
  'fp8-recipe': fp8Recipe,
  'dispatch-combine': dispatchCombine,
  'placement-loop': placementLoop,
  overlap,
};
for (const [name, svg] of Object.entries(drawings)) writeFileSync(join(out, `${name}.svg`), svg);
