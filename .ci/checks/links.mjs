// Follows every relative link: of Markdown files in the repository, and of the built site, page and anchor.
// `node .ci/checks/links.mjs [--site]`; what lies on other hosts is not asked for.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { root } from './lib/packages.mjs';

const problems = [];
const isOutside = (target) => /^[a-z][a-z+.-]*:|^\/\//i.test(target);

/** The anchor that GitHub makes of a heading. */
function anchorOf(heading) {
  return heading
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replace(/\s/g, '-');
}

const withoutCode = (text) => text.replace(/^(```|~~~)[\s\S]*?^\1/gm, '').replace(/`[^`\n]*`/g, '');

function anchorsOfMarkdown(file) {
  const text = readFileSync(file, 'utf8').replace(/^(```|~~~)[\s\S]*?^\1/gm, '');
  return new Set([...text.matchAll(/^#+ +(.+?)\s*$/gm)].map(([, heading]) => anchorOf(heading)));
}

function checkMarkdown() {
  const tracked = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.md'], {
    cwd: root,
    encoding: 'utf8',
  });
  const files = tracked.split('\n').filter((file) => file !== '' && existsSync(join(root, file)));
  let count = 0;
  for (const file of files) {
    const text = withoutCode(readFileSync(join(root, file), 'utf8'));
    for (const [, raw] of text.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)) {
      if (isOutside(raw)) continue;
      count++;
      const [path, anchor] = decodeURI(raw).split('#');
      const target = path === '' ? join(root, file) : join(root, dirname(file), path);
      if (!existsSync(target)) problems.push(`${file}: ${raw} does not exist`);
      else if (anchor && target.endsWith('.md') && !anchorsOfMarkdown(target).has(anchor))
        problems.push(`${file}: ${raw} has no such heading`);
    }
  }
  return `${count} links in ${files.length} Markdown files`;
}

function* pages(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* pages(path);
    else if (name.endsWith('.html')) yield path;
  }
}

const unescapeHtml = (text) =>
  text
    .replace(/&amp;/g, '&')
    .replace(/&#x27;|&#39;/g, "'")
    .replace(/&quot;/g, '"');

function checkSite() {
  const site = join(root, 'docs/dist');
  const ids = new Map();
  const texts = new Map([...pages(site)].map((file) => [file, readFileSync(file, 'utf8')]));
  const idsOf = (file) => {
    if (!ids.has(file))
      ids.set(
        file,
        new Set([...texts.get(file).matchAll(/\sid="([^"]*)"/g)].map(([, id]) => unescapeHtml(id))),
      );
    return ids.get(file);
  };
  let count = 0;
  for (const [file, text] of texts) {
    for (const [, raw] of text.matchAll(/\s(?:href|src)="([^"]*)"/g)) {
      const link = unescapeHtml(raw);
      if (link === '' || isOutside(link)) continue;
      count++;
      const [path, anchor] = link.split('#').map((part) => decodeURIComponent(part));
      const target = path === '' ? file : join(dirname(file), path.split('?')[0]);
      const name = relative(site, file);
      if (!existsSync(target)) problems.push(`${name}: ${link} does not exist`);
      else if (anchor && texts.has(target) && !idsOf(target).has(anchor))
        problems.push(`${name}: ${link} has no such anchor`);
      else if (target.endsWith('.md')) problems.push(`${name}: ${link} is a Markdown file, not a page`);
    }
  }
  return `${count} links in ${texts.size} pages`;
}

const done = process.argv.includes('--site') ? checkSite() : checkMarkdown();
if (problems.length > 0) {
  console.error(`broken links:\n${[...new Set(problems)].join('\n')}`);
  process.exit(1);
}
console.log(`links: ${done} hold`);
