import { clip, ServingError } from '../errors.js';

interface Member {
  readonly key: string;
  /** From behind the `{` or `,` to the next `,` or `}`. */
  readonly start: number;
  readonly end: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

const quote = 0x22;
const backslash = 0x5c;

/** Python's parsers go no deeper either, so that servers behind refuse what is. */
const maxDepth = 1000;

/**
 * A JSON object as it was written: members can be read, replaced, added and removed, and all other characters stay what
 * they were. Numbers that a double cannot hold, unknown fields, their order and their spelling survive.
 *
 * Where a name occurs twice, the last one counts, as in `JSON.parse` and in Python.
 */
export class JsonObject {
  readonly text: string;
  readonly #value: Readonly<Record<string, unknown>>;
  #members: readonly Member[] | undefined;

  private constructor(text: string, value: Readonly<Record<string, unknown>>) {
    this.text = text;
    this.#value = value;
  }

  /**
   * @throws {@link ServingError} 400 `serving/invalid-json` for what is no JSON object.
   */
  static parse(text: string): JsonObject {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw invalidJson(clip(cause instanceof Error ? cause.message : String(cause)), cause);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw invalidJson(`expected an object, got ${Array.isArray(value) ? 'a list' : clip(String(value))}`);
    }
    return new JsonObject(text, value as Record<string, unknown>);
  }

  /** Like {@link JsonObject.parse}, for texts of others that need not be JSON. */
  static tryParse(text: string): JsonObject | undefined {
    try {
      return JsonObject.parse(text);
    } catch {
      return undefined;
    }
  }

  /** A member's value; numbers are doubles. */
  get(name: string): unknown {
    return Object.hasOwn(this.#value, name) ? this.#value[name] : undefined;
  }

  /** Whether the object has a member of this name. */
  has(name: string): boolean {
    return Object.hasOwn(this.#value, name);
  }

  /** A member's value as it was written. */
  raw(name: string): string | undefined {
    if (!this.has(name)) return undefined;
    const member = this.#scan().findLast((candidate) => candidate.key === name);
    return member && this.text.slice(member.valueStart, member.valueEnd);
  }

  /**
   * The text with some members changed.
   *
   * @param edits - JSON text by name; undefined removes.
   */
  with(edits: Readonly<Record<string, string | undefined>>): string {
    const names = Object.keys(edits);
    const isNoChange = names.every((name) => edits[name] === undefined && !this.has(name));
    if (isNoChange) return this.text;
    const { text } = this;
    const members = this.#scan();
    const seen = new Set<string>();
    const parts: string[] = [];
    // Backwards, so that the last of several members of one name is the one that is replaced.
    for (let index = members.length - 1; index >= 0; index--) {
      const member = members[index]!;
      if (!Object.hasOwn(edits, member.key)) {
        parts.push(text.slice(member.start, member.end));
        continue;
      }
      const value = edits[member.key];
      if (value === undefined || seen.has(member.key)) continue;
      seen.add(member.key);
      parts.push(
        text.slice(member.start, member.valueStart) + value + text.slice(member.valueEnd, member.end),
      );
    }
    parts.reverse();
    for (const name of names) {
      const value = edits[name];
      if (value !== undefined && !seen.has(name)) parts.push(`${JSON.stringify(name)}:${value}`);
    }
    const open = text.indexOf('{') + 1;
    const close = text.lastIndexOf('}');
    return text.slice(0, open) + parts.join(',') + text.slice(close);
  }

  #scan(): readonly Member[] {
    this.#members ??= scanMembers(this.text);
    return this.#members;
  }
}

/**
 * The elements of a JSON list as they were written, without the space around them.
 *
 * @param text - a list that `JSON.parse` takes.
 */
export function listElements(text: string): string[] {
  const elements: string[] = [];
  let at = skipSpace(text, text.indexOf('[') + 1);
  while (text[at] !== ']') {
    const end = skipValue(text, at);
    elements.push(text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === ',') at = skipSpace(text, at + 1);
  }
  return elements;
}

/** Members of a text that is known to be a JSON object. */
function scanMembers(text: string): Member[] {
  const members: Member[] = [];
  let start = text.indexOf('{') + 1;
  for (;;) {
    const keyStart = skipSpace(text, start);
    if (text[keyStart] === '}') return members;
    const keyEnd = skipString(text, keyStart);
    const valueStart = skipSpace(text, text.indexOf(':', keyEnd) + 1);
    const valueEnd = skipValue(text, valueStart);
    const end = skipSpace(text, valueEnd);
    members.push({ key: keyOf(text.slice(keyStart, keyEnd)), start, end, valueStart, valueEnd });
    if (text[end] !== ',') return members;
    start = end + 1;
  }
}

function keyOf(literal: string): string {
  return literal.includes('\\') ? (JSON.parse(literal) as string) : literal.slice(1, -1);
}

function skipSpace(text: string, at: number): number {
  for (;;) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return at;
    at += 1;
  }
}

/** Behind the string that starts at `at`. */
function skipString(text: string, at: number): number {
  let from = at + 1;
  for (;;) {
    const end = text.indexOf('"', from);
    if (end === -1) return text.length;
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === backslash) slashes += 1;
    if (slashes % 2 === 0) return end + 1;
    from = end + 1;
  }
}

/**
 * Refuses what would keep `JSON.parse` busy for seconds, as 8 MB of brackets do.
 *
 * @param text - need not be JSON.
 * @throws {@link ServingError} 400 `serving/invalid-json` for more than 1,000 levels.
 */
export function requireShallow(text: string): void {
  let depth = 0;
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = skipString(text, at);
      continue;
    }
    if (code === 0x7b || code === 0x5b) depth += 1;
    else if (code === 0x7d || code === 0x5d) depth -= 1;
    if (depth > maxDepth) throw invalidJson(`it has more than ${maxDepth} levels`);
    at += 1;
  }
}

/** Behind the value that starts at `at`. */
function skipValue(text: string, at: number): number {
  let depth = 0;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = skipString(text, at);
      if (depth === 0) return at;
      continue;
    }
    if (code === 0x7b || code === 0x5b) depth += 1;
    else if (code === 0x7d || code === 0x5d) {
      depth -= 1;
      if (depth === 0) return at + 1;
      // The end of the container around a number or word.
      if (depth < 0) return at;
    } else if (depth === 0 && isEndOfScalar(code)) return at;
    at += 1;
  }
}

function isEndOfScalar(code: number): boolean {
  return code === 0x2c || code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function invalidJson(what: string, cause?: unknown): ServingError {
  return new ServingError({
    code: 'serving/invalid-json',
    openAiCode: 'invalid_json',
    message: `the body is not valid JSON: ${what}`,
    remedy: 'send one JSON object',
    status: 400,
    ...(cause !== undefined && { cause }),
  });
}
