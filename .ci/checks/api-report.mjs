// Writes what every published package exports, as declarations without comments, to packages/NAME/api-report.md; so a
// change of the public surface is a change of a file. `--check` compares instead and fails when a report is stale.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import ts from 'typescript';
import { publishedPackages, root, typedEntries } from './lib/packages.mjs';

const isCheck = process.argv.includes('--check');
const printer = ts.createPrinter({ removeComments: true, newLine: ts.NewLineKind.LineFeed });

const entriesOf = ({ folder, manifest }) =>
  typedEntries(manifest).map(([subpath, target]) => ({ subpath, file: join(folder, target.types) }));

const files = publishedPackages.flatMap((entry) => entriesOf(entry).map(({ file }) => file));
const missing = files.filter((file) => !existsSync(file));
if (missing.length > 0) {
  console.error(`build first: no ${missing.join(', ')}`);
  process.exit(1);
}
const program = ts.createProgram(files, {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  skipLibCheck: true,
  noEmit: true,
  types: ['node'],
});
const checker = program.getTypeChecker();

const resolveAlias = (symbol) =>
  symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;

/** Without private members, which are no part of the surface but are declared all the same. */
function publicPart(node) {
  if (!ts.isClassDeclaration(node)) return node;
  const members = node.members.filter(
    (member) =>
      !(ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Private) &&
      !(member.name !== undefined && ts.isPrivateIdentifier(member.name)),
  );
  const { modifiers, name, typeParameters, heritageClauses } = node;
  return ts.factory.updateClassDeclaration(node, modifiers, name, typeParameters, heritageClauses, members);
}

function print(node) {
  const statement = ts.isVariableDeclaration(node) ? node.parent.parent : node;
  const text = printer.printNode(ts.EmitHint.Unspecified, publicPart(statement), statement.getSourceFile());
  return text.replace(/^(export )?declare /, '').replace(/^export /, '');
}

/** Declarations of the package that a declaration names without exporting them: part of the surface too. */
function namedIn(node, isOwn, found) {
  const visit = (child) => {
    if (ts.isIdentifier(child)) {
      const symbol = checker.getSymbolAtLocation(child);
      const target = symbol && resolveAlias(symbol);
      const declaration = target?.declarations?.[0];
      if (declaration !== undefined && isOwn(declaration) && isTopLevel(declaration)) found.add(target);
    }
    ts.forEachChild(child, visit);
  };
  visit(publicPart(node));
}

function isTopLevel(node) {
  const statement = ts.isVariableDeclaration(node) ? node.parent.parent : node;
  return ts.isSourceFile(statement.parent);
}

const blocks = (texts) => `\n\`\`\`ts\n${texts.join('\n')}\n\`\`\`\n`;

function report(entry) {
  const own = join(entry.folder, 'dist') + sep;
  const isOwn = (node) => node.getSourceFile().fileName.startsWith(own);
  const seen = new Map();
  const named = new Set();
  let text = `# API of ${entry.manifest.name}\n\nWritten by \`pnpm run api\` from the built declarations; a change here is a change for users.\n`;
  for (const { subpath, file } of entriesOf(entry)) {
    const id = entry.manifest.name + subpath.slice(1);
    const module = checker.getSymbolAtLocation(program.getSourceFile(file));
    const exported = module === undefined ? [] : checker.getExportsOfModule(module);
    const lines = [];
    for (const symbol of exported.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const target = resolveAlias(symbol);
      const declarations = target.declarations ?? [];
      if (seen.has(target)) {
        lines.push(`export { ${symbol.name} } from '${seen.get(target)}';`);
      } else if (declarations.length === 0 || !declarations.some(isOwn)) {
        const origin = /node_modules\/((?:@[^/]+\/)?[^/]+)|packages\/([^/]+)/.exec(
          declarations[0]?.getSourceFile().fileName.slice(root.length) ?? '',
        );
        lines.push(`export { ${symbol.name} } from '${origin?.[1] ?? `@moestack/${origin?.[2]}`}';`);
      } else {
        seen.set(target, id);
        for (const declaration of declarations) {
          lines.push(
            symbol.name === target.name ? print(declaration) : `${print(declaration)} // as ${symbol.name}`,
          );
          namedIn(declaration, isOwn, named);
        }
      }
    }
    text += `\n## ${id}\n${lines.length === 0 ? '\nNo exports.\n' : blocks(lines)}`;
  }
  const hidden = new Map();
  // A set grows while it is walked: what is named by what is named.
  for (const symbol of named) {
    if (seen.has(symbol)) continue;
    const texts = symbol.declarations.map((declaration) => {
      namedIn(declaration, isOwn, named);
      return print(declaration);
    });
    hidden.set(texts.join('\n'), symbol.name);
  }
  if (hidden.size > 0) text += `\n## Named above, not exported\n${blocks([...hidden.keys()].sort())}`;
  return text;
}

const stale = [];
for (const entry of publishedPackages) {
  const file = join(entry.folder, 'api-report.md');
  const text = report(entry);
  const before = existsSync(file) ? readFileSync(file, 'utf8') : '';
  if (before === text) continue;
  if (isCheck) stale.push(`packages/${entry.name}/api-report.md`);
  else writeFileSync(file, text);
}
if (stale.length > 0) {
  console.error(
    `the public surface changed: run \`pnpm run api\`, read the difference and commit ${stale.join(', ')}`,
  );
  process.exit(1);
}
console.log(`api: ${publishedPackages.length} reports ${isCheck ? 'hold' : 'written'}`);
