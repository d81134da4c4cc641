import { place } from './place.js';
import { roundings, sums } from './round.js';
import { experts, route } from './route.js';

const panel = (id) => document.getElementById(id);
const percent = (value) => `${(100 * value).toPrecision(3)} %`;
let counts;

function values(form) {
  for (const input of form.querySelectorAll('input[type=range]'))
    input.nextElementSibling.value = input.value;
  return Object.fromEntries(new FormData(form));
}

function drawBars(target, { counts, fair }) {
  const [width, height] = [960, 200];
  const scale = height / Math.max(...counts, fair * 1.5);
  const step = width / experts;
  const bars = Array.from(
    counts,
    (count, i) =>
      `<rect class="bar" x="${i * step + 1.5}" y="${height - count * scale}" width="${step - 3}" height="${count * scale}"><title>expert ${i}: ${count} tokens</title></rect>`,
  );
  const y = height - fair * scale;
  target.innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="tokens of each expert">${bars.join('')}<line class="fair" x1="0" x2="${width}" y1="${y}" y2="${y}"/></svg>`;
}

function showRouting() {
  const form = panel('routing').querySelector('form');
  const { skew, groups, steps } = values(form);
  const result = route({ skew: Number(skew), topKGroups: Number(groups), steps: Number(steps) });
  counts = result.counts;
  drawBars(panel('routing').querySelector('.chart'), result);
  panel('routing').querySelector('.figures').textContent =
    `busiest expert ${(1 + result.maxVio).toFixed(2)} times its share, Gini ${result.gini.toFixed(3)}`;
  showPlacement();
}

function showPlacement() {
  const { gpus, redundant } = values(panel('placement').querySelector('form'));
  const { plans, bound } = place(counts, { gpus: Number(gpus), redundant: Number(redundant) });
  const most = Math.max(...plans.flatMap(({ loads }) => [...loads]));
  const rows = plans.map(({ name, loads }) => {
    const fullest = Math.max(...loads);
    const cells = Array.from(
      loads,
      (load, gpu) =>
        `<span${load === fullest ? ' class="full"' : ''} style="--share:${((100 * load) / most).toFixed(0)}" title="GPU ${gpu}: ${Math.round(load)} tokens"></span>`,
    );
    return `<div class="plan" data-plan="${name}"><span>${name}</span><div class="cells">${cells.join('')}</div><span>fullest ${Math.round(fullest)}</span></div>`;
  });
  panel('placement').querySelector('.chart').innerHTML =
    `${rows.join('')}<p class="figures">no plan can be below ${Math.ceil(bound)}</p>`;
}

function showNumber() {
  const { number } = values(panel('fp8').querySelector('form'));
  const parsed = Number(number.replace(',', '.'));
  const body = panel('fp8').querySelector('tbody');
  if (number.trim() === '' || !Number.isFinite(parsed)) {
    body.innerHTML = '<tr><td colspan="4">type a number, such as 0.1 or 448</td></tr>';
    return;
  }
  body.innerHTML = roundings(parsed)
    .map(
      ({ format, code, value, error }) =>
        `<tr><td>${format}</td><td><code>${code}</code></td><td>${Number(value.toPrecision(7))}</td><td>${percent(error)}</td></tr>`,
    )
    .join('');
}

function showSums() {
  const { k } = values(panel('fp8').querySelector('form'));
  const { alone, promoted } = sums(Number(k));
  panel('fp8').querySelector('.figures').textContent =
    `sums of ${k} products on Hopper: ${percent(alone)} off alone, ${percent(promoted)} promoted every 128`;
}

for (const form of document.forms) form.addEventListener('submit', (event) => event.preventDefault());
panel('routing').addEventListener('input', showRouting);
panel('placement').addEventListener('input', showPlacement);
panel('fp8').addEventListener('input', ({ target }) => (target.name === 'k' ? showSums() : showNumber()));
showRouting();
showNumber();
showSums();
