// What the site needs beyond TypeDoc: guides titled by their first heading and grouped by folder, and diagrams inlined
// so that they follow the chosen theme.
import { readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { Application, Converter, PageEvent, ReflectionKind } from 'typedoc';

const root = join(import.meta.dirname, '../..');

/** Where a guide appears, by its folder; guides that lie elsewhere are about the project. */
const groups = {
  'docs/concepts': 'Concepts',
  'docs/how-to': 'How to',
  docs: 'Reference',
  examples: 'Examples',
};

function groupOf(file) {
  const path = relative(root, file).split(sep).slice(0, -1);
  return groups[path.join('/')] ?? groups[path[0]] ?? 'Project';
}

/** The first heading becomes the title; examples go by the name of their folder. */
function titleOf(document) {
  const [first] = document.content;
  const match = first?.kind === 'text' ? /^\s*# (.+)\n/.exec(first.text) : null;
  if (match === null) return;
  first.text = first.text.slice(match[0].length);
  document.name = match[1]
    .replace(/[`*_]/g, '')
    .replace(/^example-/, '')
    .trim();
}

/** The README of a package is on its page: links to the file lead there, and its title is that of the page. */
function adoptReadmes(project) {
  for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
    const first = module.readme?.[0];
    if (first === undefined) continue;
    const folder = module.name.replace(/^@moestack\//, '');
    project.files.registerReflectionPath(join(root, 'packages', folder, 'README.md'), module);
    if (first.kind === 'text') first.text = first.text.replace(/^\s*# .+\n/, '');
  }
}

/** Diagrams become part of the page: as pictures they would follow the system, not the theme that was chosen. */
function inlineDiagrams(html) {
  return html.replace(/<img src="[^"]*?([\w-]+)\.svg" alt="([^"]*)"[^>]*>/g, (_image, name, alt) =>
    readFileSync(join(root, 'docs/images', `${name}.svg`), 'utf8')
      .replace(/<style>.*?<\/style>\n?/s, '')
      .replace(/<title>.*?<\/title>/s, `<title>${alt}</title>`),
  );
}

/** Lets screen readers find the content, and the keyboard scroll wide tables. */
function openToAll(html) {
  return html
    .replace('<div class="col-content">', '<div class="col-content" role="main">')
    .replaceAll('<table>', '<table tabindex="0">');
}

/** @param {Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    const file = document.project.files.getReflectionPath(document);
    titleOf(document);
    document.frontmatter.group ??= groupOf(file);
  });
  app.on(Application.EVENT_PROJECT_REVIVE, adoptReadmes);
  app.renderer.on(PageEvent.END, (page) => {
    page.contents = openToAll(inlineDiagrams(page.contents));
  });
}
