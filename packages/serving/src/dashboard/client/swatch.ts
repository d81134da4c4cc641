import { element, svg } from './dom.js';

/** An entry of a legend: a patch in the colour of a class, and its name. */
export function swatch(colour: string, name: string): HTMLElement {
  const item = element('li');
  const patch = svg('svg', { 'aria-hidden': 'true' });
  patch.append(svg('rect', { class: colour, width: 12, height: 10, rx: 2 }));
  item.append(patch, name);
  return item;
}
