import { DetectError } from '../errors.js';

/** A match; offsets in UTF-16 units. */
export interface PatternMatch {
  readonly start: number;
  readonly end: number;
}

type Test = (unit: number) => boolean;
type Node =
  | { readonly type: 'test'; readonly test: Test }
  | { readonly type: 'edge'; readonly edge: 'start' | 'end' | 'word' | 'notWord' }
  | { readonly type: 'sequence' | 'either'; readonly items: readonly Node[] }
  | { readonly type: 'repeat'; readonly item: Node; readonly least: number; readonly most: number };

const MAXIMUM_LENGTH = 500;
const MAXIMUM_STATES = 5_000;
const MAXIMUM_REPEAT = 1_000;
const MAXIMUM_DEPTH = 40;
/** How far a match that is found may be tried to be made longer: without it, finding all matches could take quadratic time. */
const LONGEST_TRY = 4_096;

/**
 * A regular expression that is matched in time proportional to the text, whatever pattern and text are: by simulating its automaton,
 * never by backtracking.
 *
 * It knows literals, `.`, classes, `\d \w \s \b` and their opposites, `^ $`, groups, `|`, and the quantifiers `* + ? {n,m}`. Matches
 * are leftmost and longest. Back references and look-around, which cannot be matched in linear time, are refused.
 */
export class LinearPattern {
  readonly source: string;
  readonly #program: readonly Instruction[];

  /** @throws DetectError `detect/bad-config` for a pattern that is wrong, too large, or needs backtracking */
  constructor(source: string, options: { readonly ignoreCase?: boolean } = {}) {
    this.source = source;
    const program: Instruction[] = [];
    compile(new Parser(source, options.ignoreCase === true).parse(), program, source);
    program.push({ type: 'match' });
    this.#program = program;
  }

  /** Every match, from left to right, without overlaps; empty ones are left out. */
  matches(text: string, options: { readonly maximum?: number } = {}): PatternMatch[] {
    const { maximum = 10_000 } = options;
    const found: PatternMatch[] = [];
    const program = this.#program;
    // Start of the leftmost thread that is in a state, -1 for none; threads in order of their starts.
    let current = new Threads(program.length);
    let next = new Threads(program.length);
    let best: { start: number; end: number } | undefined;
    let from = 0;
    for (let at = 0; at <= text.length; at++) {
      if (best === undefined && at >= from) this.#add(current, 0, at, text, at);
      const unit = at < text.length ? text.charCodeAt(at) : -1;
      next.clear();
      for (let i = 0; i < current.count; i++) {
        const state = current.order[i]!;
        const start = current.start[state]!;
        if (best !== undefined && start > best.start) continue;
        const instruction = program[state]!;
        if (instruction.type === 'match') {
          if (at > start && (best === undefined || start < best.start || at > best.end))
            best = { start, end: at };
        } else if (instruction.type === 'test' && unit >= 0 && instruction.test(unit)) {
          this.#add(next, state + 1, start, text, at + 1);
        }
      }
      [current, next] = [next, current];
      if (best !== undefined && (!current.has(best.start) || at - best.end > LONGEST_TRY)) {
        found.push(best);
        if (found.length === maximum) return found;
        // Go back to where the match ended; what a longer try read is read again.
        at = best.end - 1;
        from = best.end;
        best = undefined;
        current.clear();
      }
    }
    if (best !== undefined) found.push(best);
    return found;
  }

  #add(threads: Threads, first: number, start: number, text: string, at: number): void {
    const pending = threads.pending;
    let depth = 0;
    pending[depth++] = first;
    while (depth > 0) {
      const state = pending[--depth]!;
      if (threads.start[state]! >= 0) continue;
      threads.start[state] = start;
      const instruction = this.#program[state]!;
      if (instruction.type === 'split') {
        pending[depth++] = instruction.second;
        pending[depth++] = instruction.first;
      } else if (instruction.type === 'jump') pending[depth++] = instruction.to;
      else if (instruction.type === 'edge') {
        if (isEdge(instruction.edge, text, at)) pending[depth++] = state + 1;
      } else threads.order[threads.count++] = state;
      threads.touched[threads.touchedCount++] = state;
    }
  }
}

type Instruction =
  | { readonly type: 'test'; readonly test: Test }
  | { readonly type: 'edge'; readonly edge: 'start' | 'end' | 'word' | 'notWord' }
  | { readonly type: 'split'; readonly first: number; second: number }
  | { readonly type: 'jump'; to: number }
  | { readonly type: 'match' };

class Threads {
  readonly start: Float64Array;
  readonly order: Int32Array;
  readonly touched: Int32Array;
  readonly pending: Int32Array;
  count = 0;
  touchedCount = 0;

  constructor(states: number) {
    this.start = new Float64Array(states).fill(-1);
    this.order = new Int32Array(states);
    this.touched = new Int32Array(states);
    this.pending = new Int32Array(2 * states + 2);
  }

  clear(): void {
    for (let i = 0; i < this.touchedCount; i++) this.start[this.touched[i]!] = -1;
    this.count = 0;
    this.touchedCount = 0;
  }

  /** Whether a thread that began at or before `start` is left. */
  has(start: number): boolean {
    for (let i = 0; i < this.count; i++) if (this.start[this.order[i]!]! <= start) return true;
    return false;
  }
}

function isEdge(edge: 'start' | 'end' | 'word' | 'notWord', text: string, at: number): boolean {
  if (edge === 'start') return at === 0;
  if (edge === 'end') return at === text.length;
  const before = at > 0 && isWordUnit(text.charCodeAt(at - 1));
  const after = at < text.length && isWordUnit(text.charCodeAt(at));
  return (before !== after) === (edge === 'word');
}

function isWordUnit(unit: number): boolean {
  return (
    (unit >= 0x30 && unit <= 0x39) ||
    (unit >= 0x41 && unit <= 0x5a) ||
    (unit >= 0x61 && unit <= 0x7a) ||
    unit === 0x5f
  );
}

function compile(node: Node, program: Instruction[], source: string): void {
  if (program.length > MAXIMUM_STATES) throw badPattern(source, `more than ${MAXIMUM_STATES} states`);
  switch (node.type) {
    case 'test':
    case 'edge':
      program.push(node);
      return;
    case 'sequence':
      for (const item of node.items) compile(item, program, source);
      return;
    case 'either': {
      const jumps: { type: 'jump'; to: number }[] = [];
      node.items.forEach((item, i) => {
        if (i === node.items.length - 1) {
          compile(item, program, source);
          return;
        }
        const split = { type: 'split' as const, first: program.length + 1, second: 0 };
        program.push(split);
        compile(item, program, source);
        const jump = { type: 'jump' as const, to: 0 };
        program.push(jump);
        jumps.push(jump);
        split.second = program.length;
      });
      for (const jump of jumps) jump.to = program.length;
      return;
    }
    case 'repeat': {
      for (let i = 0; i < node.least; i++) compile(node.item, program, source);
      if (node.most === Infinity) {
        const split = { type: 'split' as const, first: program.length + 1, second: 0 };
        const start = program.push(split) - 1;
        compile(node.item, program, source);
        program.push({ type: 'jump', to: start });
        split.second = program.length;
        return;
      }
      const splits: { second: number }[] = [];
      for (let i = node.least; i < node.most; i++) {
        const split = { type: 'split' as const, first: program.length + 1, second: 0 };
        program.push(split);
        splits.push(split);
        compile(node.item, program, source);
      }
      for (const split of splits) split.second = program.length;
    }
  }
}

const SPACE: Test = (unit) => /\s/.test(String.fromCharCode(unit));
const DIGIT: Test = (unit) => unit >= 0x30 && unit <= 0x39;
const ESCAPES: Readonly<Record<string, Test>> = {
  d: DIGIT,
  D: (unit) => !DIGIT(unit),
  w: isWordUnit,
  W: (unit) => !isWordUnit(unit),
  s: SPACE,
  S: (unit) => !SPACE(unit),
};
const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, 0: 0 };

class Parser {
  readonly #source: string;
  readonly #ignoreCase: boolean;
  #at = 0;
  #depth = 0;

  constructor(source: string, ignoreCase: boolean) {
    if (source.length === 0 || source.length > MAXIMUM_LENGTH)
      throw badPattern(source.slice(0, 40), `its length is ${source.length}, not 1 to ${MAXIMUM_LENGTH}`);
    this.#source = source;
    this.#ignoreCase = ignoreCase;
  }

  parse(): Node {
    const node = this.#either();
    if (this.#at < this.#source.length) throw this.#error(`there is a ) too many at ${this.#at}`);
    return node;
  }

  #either(): Node {
    if (++this.#depth > MAXIMUM_DEPTH) throw this.#error('groups are nested too deeply');
    const items = [this.#sequence()];
    while (this.#take('|')) items.push(this.#sequence());
    this.#depth--;
    return items.length === 1 ? items[0]! : { type: 'either', items };
  }

  #sequence(): Node {
    const items: Node[] = [];
    while (this.#at < this.#source.length && !'|)'.includes(this.#source[this.#at]!))
      items.push(this.#repeated());
    return { type: 'sequence', items };
  }

  #repeated(): Node {
    let item = this.#atom();
    for (;;) {
      const [least, most] = this.#quantifier() ?? [-1, -1];
      if (least < 0) return item;
      if (item.type === 'edge') throw this.#error('an edge cannot be repeated');
      // Lazy and greedy are the same where matches are longest.
      this.#take('?');
      item = { type: 'repeat', item, least, most };
    }
  }

  #quantifier(): [number, number] | undefined {
    if (this.#take('*')) return [0, Infinity];
    if (this.#take('+')) return [1, Infinity];
    if (this.#take('?')) return [0, 1];
    const match = /^\{(\d{1,5})(,(\d{0,5}))?\}/.exec(this.#source.slice(this.#at, this.#at + 16));
    if (match === null) return undefined;
    this.#at += match[0].length;
    const least = Number(match[1]);
    const most = match[2] === undefined ? least : match[3] === '' ? Infinity : Number(match[3]);
    if (most < least || least > MAXIMUM_REPEAT || (most > MAXIMUM_REPEAT && most !== Infinity))
      throw this.#error(`${match[0]} is out of order or above ${MAXIMUM_REPEAT}`);
    return [least, most];
  }

  #atom(): Node {
    const character = this.#source[this.#at++]!;
    if (character === '(') {
      if (this.#take('?') && !this.#take(':'))
        throw this.#error('look-around and named groups are not supported');
      const node = this.#either();
      if (!this.#take(')')) throw this.#error('a ) is missing');
      return node;
    }
    if (character === '[') return { type: 'test', test: this.#class() };
    if (character === '.') return { type: 'test', test: (unit) => unit !== 10 && unit !== 13 };
    if (character === '^') return { type: 'edge', edge: 'start' };
    if (character === '$') return { type: 'edge', edge: 'end' };
    if ('*+?'.includes(character)) throw this.#error(`there is nothing to repeat at ${this.#at - 1}`);
    if (character !== '\\') return { type: 'test', test: this.#literal(character.charCodeAt(0)) };
    if (this.#take('b')) return { type: 'edge', edge: 'word' };
    if (this.#take('B')) return { type: 'edge', edge: 'notWord' };
    const escaped = this.#escape();
    return { type: 'test', test: typeof escaped === 'number' ? this.#literal(escaped) : escaped };
  }

  /** What follows a backslash: a class or one unit. */
  #escape(): Test | number {
    const character = this.#source[this.#at++];
    if (character === undefined) throw this.#error('it ends in a backslash');
    if (/[1-9k]/.test(character)) throw this.#error('back references are not supported');
    const test = Object.hasOwn(ESCAPES, character) ? ESCAPES[character] : undefined;
    if (test !== undefined) return test;
    if (Object.hasOwn(CONTROLS, character)) return CONTROLS[character]!;
    const hex = character === 'x' ? 2 : character === 'u' ? 4 : 0;
    if (hex > 0) {
      const digits = this.#source.slice(this.#at, this.#at + hex);
      if (!new RegExp(`^[0-9a-fA-F]{${hex}}$`).test(digits))
        throw this.#error(`\\${character} needs ${hex} digits`);
      this.#at += hex;
      return Number.parseInt(digits, 16);
    }
    if (/[a-zA-Z]/.test(character)) throw this.#error(`\\${character} is not supported`);
    return character.charCodeAt(0);
  }

  #class(): Test {
    const negated = this.#take('^');
    const tests: Test[] = [];
    while (!this.#take(']')) {
      if (this.#at >= this.#source.length) throw this.#error('a ] is missing');
      const low = this.#classItem();
      if (typeof low !== 'number') {
        tests.push(low);
        continue;
      }
      const range = this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']';
      if (!range) {
        tests.push(this.#literal(low));
        continue;
      }
      this.#at++;
      const high = this.#classItem();
      if (typeof high !== 'number' || high < low) throw this.#error('a range in a class is out of order');
      const within: Test = (unit) => unit >= low && unit <= high;
      tests.push(this.#ignoreCase ? (unit) => cases(unit).some(within) : within);
    }
    return (unit) => tests.some((test) => test(unit)) !== negated;
  }

  #classItem(): Test | number {
    if (this.#take('\\')) return this.#escape();
    const unit = this.#source.charCodeAt(this.#at++);
    if (Number.isNaN(unit)) throw this.#error('a ] is missing');
    return unit;
  }

  #literal(expected: number): Test {
    if (!this.#ignoreCase) return (unit) => unit === expected;
    const accepted = cases(expected);
    return (unit) => accepted.includes(unit);
  }

  #take(character: string): boolean {
    if (this.#source[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #error(problem: string): DetectError {
    return badPattern(this.#source, problem);
  }
}

function cases(unit: number): number[] {
  const character = String.fromCharCode(unit);
  return [...new Set([character, character.toLowerCase(), character.toUpperCase()])]
    .filter(({ length }) => length === 1)
    .map((one) => one.charCodeAt(0));
}

function badPattern(source: string, problem: string): DetectError {
  return new DetectError({
    code: 'detect/bad-config',
    message: `expected a pattern that can be matched in linear time, got /${source}/: ${problem}`,
    value: source,
    remedy: 'use literals, classes, groups, alternatives and quantifiers alone',
  });
}
