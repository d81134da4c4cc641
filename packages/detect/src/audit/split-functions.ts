/** Languages that {@link splitFunctions} reads. */
export type CodeLanguage = 'javascript' | 'python';

/** A function of a source file. */
export interface CodeFunction {
  readonly name: string;
  /** Offsets in UTF-16 units of the file. */
  readonly start: number;
  readonly end: number;
  /** Line numbers from 1, both included. */
  readonly startLine: number;
  readonly endLine: number;
}

const EXTENSIONS: ReadonlyMap<string, CodeLanguage> = new Map([
  ...['js', 'mjs', 'cjs', 'jsx', 'ts', 'mts', 'cts', 'tsx'].map((name) => [name, 'javascript'] as const),
  ['py', 'python'] as const,
]);

/** The language of a file by its name; undefined for one that cannot be split. */
export function languageOf(path: string): CodeLanguage | undefined {
  return EXTENSIONS.get(/\.(\w+)$/.exec(path)?.[1]?.toLowerCase() ?? '');
}

/**
 * Finds the outermost functions and methods of a source file, in order. It is no parser: it follows strings, comments, brackets and
 * indentation, in linear time, and leaves out what it does not understand.
 */
export function splitFunctions(source: string, language: CodeLanguage): CodeFunction[] {
  return language === 'python' ? pythonFunctions(source) : javascriptFunctions(source);
}

const PYTHON = /^([ \t]*)(?:async[ \t]+)?def[ \t]+(\w+)/;

function pythonFunctions(source: string): CodeFunction[] {
  const lines = source.split('\n');
  const inString = linesInStrings(lines);
  const found: CodeFunction[] = [];
  const starts: number[] = [];
  let offset = 0;
  for (const line of lines) {
    starts.push(offset);
    offset += line.length + 1;
  }
  for (let i = 0; i < lines.length; ) {
    const match = inString[i] === 1 ? null : PYTHON.exec(lines[i]!);
    if (match === null) {
      i++;
      continue;
    }
    const indent = match[1]!.length;
    let first = i;
    while (first > 0 && /^\s*@/.test(lines[first - 1]!) && indentOf(lines[first - 1]!) === indent) first--;
    let last = i;
    let depth = 0;
    for (let j = i; j < lines.length; j++) {
      const line = lines[j]!;
      const blank = line.trim() === '';
      if (
        j > i &&
        !blank &&
        inString[j] === 0 &&
        depth <= 0 &&
        indentOf(line) <= indent &&
        !/^\s*[)\]}#]/.test(line)
      )
        break;
      if (!blank && !(indentOf(line) <= indent && /^\s*#/.test(line))) last = j;
      if (inString[j] === 0) depth += bracketBalance(line);
    }
    found.push({
      name: match[2]!,
      start: starts[first]!,
      end: starts[last]! + lines[last]!.length,
      startLine: first + 1,
      endLine: last + 1,
    });
    i = last + 1;
  }
  return found;
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

function bracketBalance(line: string): number {
  let balance = 0;
  for (const unit of line.replace(/(["'])(?:\\.|(?!\1)[^\\])*\1|#.*$/g, '')) {
    if ('([{'.includes(unit)) balance++;
    else if (')]}'.includes(unit)) balance--;
  }
  return balance;
}

/** Which lines begin inside a triple-quoted string. */
function linesInStrings(lines: readonly string[]): Uint8Array {
  const inside = new Uint8Array(lines.length);
  let quote = '';
  lines.forEach((line, i) => {
    inside[i] = quote === '' ? 0 : 1;
    for (let at = 0; at < line.length; at++) {
      const three = line.slice(at, at + 3);
      if (quote === '' && line[at] === '#') break;
      if (quote !== '' ? three === quote : three === '"""' || three === "'''") {
        quote = quote === '' ? three : '';
        at += 2;
      } else if (quote === '' && (line[at] === '"' || line[at] === "'")) {
        const end = line.indexOf(line[at]!, at + 1);
        if (end < 0) break;
        at = end;
      }
    }
  });
  return inside;
}

/** On text without literals, comments and what is in parentheses. */
const HEAD =
  /(?:\bfunction\b\s*\*?\s*(\w+)?\s*(?:<[^()]*>)?\s*\(\)[^()=;]*|\b(?:const|let|var)\s+(\w+)\s*(?::[^=]*)?=\s*(?:async\s*)?(?:<[^()]*>)?(?:\(\)[^()=;]*|\w+\s*)=>\s*|(?:^|\s|[*#])(\w+)\s*(?:<[^()]*>)?\(\)\s*(?::[^()=;]*)?)$/;
const NOT_NAMES = new Set([
  'if',
  'for',
  'while',
  'switch',
  'catch',
  'with',
  'return',
  'function',
  'new',
  'await',
]);
const MAXIMUM_HEAD = 600;

function javascriptFunctions(source: string): CodeFunction[] {
  const found: CodeFunction[] = [];
  const lineAt = lineCounter(source);
  // What stands before a brace since the last statement, without what is in parentheses; outer ones wait on the stack.
  let head = '';
  let headStart = 0;
  let depth = 0;
  const outer: { head: string; headStart: number; depth: number }[] = [];
  const restart = (at: number): void => {
    head = '';
    headStart = at;
  };
  for (let at = 0; at < source.length; ) {
    const skipped = skipLiteral(source, at);
    if (skipped > at) {
      at = skipped;
      continue;
    }
    const unit = source[at]!;
    if (unit === '{') {
      const name = depth === 0 ? functionName(head) : undefined;
      if (name !== undefined) {
        const end = closingBrace(source, at);
        const start = headStart + leadingSpace(source, headStart);
        found.push({ name, start, end, startLine: lineAt(start), endLine: lineAt(end) });
        at = end;
        restart(at);
        continue;
      }
      outer.push({ head, headStart, depth });
      depth = 0;
      restart(at + 1);
    } else if (unit === '}') {
      const context = outer.pop();
      depth = context?.depth ?? 0;
      if (depth > 0 && context !== undefined) ({ head, headStart } = context);
      else restart(at + 1);
    } else if (unit === ';' && depth === 0) restart(at + 1);
    else if (unit === '(') {
      if (depth++ === 0) head += '(';
    } else if (unit === ')') {
      depth = Math.max(0, depth - 1);
      if (depth === 0) head += ')';
    } else if (depth === 0 && head.length < MAXIMUM_HEAD) head += unit;
    at++;
  }
  return found;
}

/** Name of the function whose body a brace after `head` opens. */
function functionName(head: string): string | undefined {
  if (head.length >= MAXIMUM_HEAD) return undefined;
  const match = HEAD.exec(head);
  const name = match?.[1] ?? match?.[2] ?? match?.[3] ?? (match === null ? undefined : 'anonymous');
  return name !== undefined && NOT_NAMES.has(name) ? undefined : name;
}

function leadingSpace(source: string, from: number): number {
  let at = from;
  for (;;) {
    while (at < source.length && /\s/.test(source[at]!)) at++;
    if (source.startsWith('//', at) || source.startsWith('/*', at)) at = skipLiteral(source, at);
    else return at - from;
  }
}

/** Line numbers of ascending offsets. */
function lineCounter(source: string): (offset: number) => number {
  let line = 1;
  let counted = 0;
  return (offset) => {
    for (; counted < offset; counted++) if (source.charCodeAt(counted) === 10) line++;
    return line;
  };
}

/** Where the string, template, comment or regular expression at `at` ends; `at` if there is none. */
function skipLiteral(source: string, at: number): number {
  const unit = source[at]!;
  if (unit === '/' && source[at + 1] === '/') return endOr(source.indexOf('\n', at), source);
  if (unit === '/' && source[at + 1] === '*') return endOr(source.indexOf('*/', at + 2) + 2, source, 2);
  if (unit === '/') return skipRegExp(source, at);
  if (unit !== '"' && unit !== "'" && unit !== '`') return at;
  for (let i = at + 1; i < source.length; i++) {
    if (source[i] === '\\') i++;
    else if (source[i] === unit) return i + 1;
    else if (source[i] === '\n' && unit !== '`') return i;
    else if (unit === '`' && source[i] === '$' && source[i + 1] === '{') {
      const end = source.indexOf('}', i);
      if (end < 0) return source.length;
      i = end;
    }
  }
  return source.length;
}

function skipRegExp(source: string, at: number): number {
  const before = source.slice(Math.max(0, at - 12), at).trimEnd();
  if (!/(?:^|[(,=:[!&|?{};+\-*%<>~^]|\breturn|\btypeof|\bcase)$/.test(before)) return at;
  let inClass = false;
  for (let i = at + 1; i < source.length && source[i] !== '\n'; i++) {
    if (source[i] === '\\') i++;
    else if (source[i] === '[') inClass = true;
    else if (source[i] === ']') inClass = false;
    else if (source[i] === '/' && !inClass) return i + 1;
  }
  return at;
}

function endOr(found: number, source: string, least: number = 0): number {
  return found < least ? source.length : found;
}

function closingBrace(source: string, open: number): number {
  let depth = 0;
  for (let at = open; at < source.length; ) {
    const skipped = skipLiteral(source, at);
    if (skipped > at) {
      at = skipped;
      continue;
    }
    if (source[at] === '{') depth++;
    else if (source[at] === '}' && --depth === 0) return at + 1;
    at++;
  }
  return source.length;
}
