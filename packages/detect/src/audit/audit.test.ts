import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AuditRecord, auditTexts, codeQuality, nearDuplicates, splitFunctions } from './index.js';

const kinds = (records: AuditRecord[], options = {}): string[] =>
  auditTexts(records, options).findings.map(({ kind }) => kind);

/** Different texts of as many words. */
function text(seed: number, words: number): string {
  return Array.from({ length: words }, (_, i) => `w${(seed * 7919 + i * i * 31) % 5003}`).join(' ');
}

describe('auditTexts', () => {
  const balanced = Array.from(
    { length: 40 },
    (_, i): AuditRecord => ({ text: `${text(i, 50)}.`, isAi: i % 2 === 1 }),
  );

  it('finds nothing wrong with balanced texts of one length', () => {
    const report = auditTexts(balanced);
    expect(report.findings).toEqual([]);
    expect(report).toMatchObject({ texts: 40, humans: 20, ais: 20, drop: [] });
    expect(report.lengthAuc).toBe(0.5);
  });

  it('sees that length or layout tell the sides apart', () => {
    const long = balanced.map((record) =>
      record.isAi ? { ...record, text: `${record.text} and more words.` } : record,
    );
    expect(auditTexts(long)).toMatchObject({ lengthAuc: 1 });
    expect(kinds(long)).toContain('length-confound');
    const broken = balanced.map((record) =>
      record.isAi ? { ...record, text: record.text.replace(' ', '\n\n') } : record,
    );
    expect(kinds(broken)).toEqual(['formatting-artefact', 'formatting-artefact']);
  });

  it('finds copies, near copies, contradictions and leaks between splits', () => {
    const one = text(1, 60);
    const near = one.replace('w', 'v');
    expect(kinds([...balanced, { text: one, isAi: true }, { text: ` ${one}\n`, isAi: true }])).toContain(
      'duplicate',
    );
    expect(kinds([...balanced, { text: one, isAi: true }, { text: near, isAi: true }])).toContain(
      'near-duplicate',
    );
    expect(kinds([...balanced, { text: one, isAi: true }, { text: one, isAi: false }])).toContain(
      'contradiction',
    );
    const splits = auditTexts([
      ...balanced,
      { text: one, isAi: false, id: 'a', pair: 'p', split: 'train' },
      { text: near, isAi: false, id: 'b', split: 'test' },
      { text: text(99, 60), isAi: true, id: 'c', pair: 'p', split: 'test' },
    ]).findings;
    expect(splits.find(({ kind }) => kind === 'pair-leakage')?.ids).toEqual(['a', 'c']);
    expect(splits.find(({ kind }) => kind === 'text-leakage')?.ids).toEqual(['a', 'b']);
  });

  it('finds what once made detectors of code look good: stubs, licence headers, configuration', () => {
    const stub = 'def solve(data):\n    """Solve it."""\n    # implementation of solve\n    pass\n';
    const config = '{\n  "name": "x",\n  "version": "1",\n  "private": true,\n  "license": "MIT"\n}\n';
    const licence = `/*\n * Licensed under the Apache License, Version 2.0.\n * ${'words '.repeat(60)}\n */\nexport const x = f(1);\n`;
    const real =
      'def total(rows):\n    result = 0\n    for row in rows:\n        result += row.price\n    return result\n';
    const report = auditTexts(
      [stub, config, licence, real].map((code, i) => ({ text: code, isAi: i % 2 === 0, id: String(i) })),
      { isCode: true },
    );
    const idsOf = (kind: string) => report.findings.find((finding) => finding.kind === kind)?.ids;
    expect(idsOf('stub')).toEqual(['0']);
    expect(idsOf('config-only')).toEqual(['1']);
    expect(idsOf('licence-header')).toEqual(['2']);
    expect(report.drop).toEqual([0, 1]);
    expect(codeQuality(real)).toEqual({ isStub: false, isConfig: false, licenceShare: 0 });
  });

  it('refuses records without labels', () => {
    expect(() => auditTexts([])).toThrow(/1 to/);
    expect(() => auditTexts([{ text: 'a' } as AuditRecord])).toThrow(/record 0/);
  });
});

describe('nearDuplicates', () => {
  it('finds pairs above the similarity and none below', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), fc.integer({ min: 0, max: 100 }), (seed, at) => {
        const words = text(seed, 120).split(' ');
        const changed = words.with(at, 'other');
        const found = nearDuplicates([words.join(' '), text(seed + 1, 120), changed.join(' ')]);
        expect(found).toHaveLength(1);
        expect(found[0]).toMatchObject({ first: 0, second: 2 });
        expect(found[0]!.similarity).toBeGreaterThan(0.9);
      }),
      { seed: 3, numRuns: 50 },
    );
  });

  it('takes texts without a word, and many copies', () => {
    expect(nearDuplicates(['', ' ', '\ud800'])).toEqual([]);
    expect(nearDuplicates(Array<string>(300).fill(text(4, 30))).length).toBeGreaterThanOrEqual(299);
  });
});

describe('splitFunctions', () => {
  it('finds functions, methods and arrow functions of JavaScript and TypeScript', () => {
    const source = `import x from 'x';
// function no() {}
export async function first<T>(a: T, b = '}'): Promise<void> {
  if (a) { return; } // }
  const r = /[}/]/.test(\`\${b} }\`);
}
class Box {
  get size() { return 1; }
  static async load(path: string): Promise<Box> {
    for (const x of []) { x(); }
    return new Box();
  }
}
const arrow = (x: number) => {
  return x * 2;
};
`;
    const found = splitFunctions(source, 'javascript');
    expect(found.map(({ name }) => name)).toEqual(['first', 'size', 'load', 'arrow']);
    expect(source.slice(found[0]!.start, found[0]!.end)).toMatch(/^export async function first[\s\S]*\n}$/);
    expect(found[2]).toMatchObject({ startLine: 9, endLine: 12 });
  });

  it('finds functions of Python with decorators, strings and line breaks in brackets', () => {
    const source = `import os

@cache
def first(a,
          b=")"):
    """Doc
def no():
    """
    return (a +
b)

class Box:
    async def load(self):
        def inner():
            pass
        return inner

x = 1
`;
    const found = splitFunctions(source, 'python');
    expect(found.map(({ name }) => name)).toEqual(['first', 'load']);
    expect(source.slice(found[0]!.start, found[0]!.end)).toMatch(/^@cache[\s\S]*\nb\)$/);
    expect(found[1]).toMatchObject({ startLine: 13, endLine: 16 });
  });

  it('gives ordered, disjoint ranges for any text', () => {
    const piece = fc.constantFrom(
      ...[
        'function f() {',
        '}',
        '{',
        '"',
        "'",
        '`',
        '/*',
        '*/',
        '//',
        '\n',
        'def f():\n  ',
        '"""',
        '(',
        ')',
        '=> {',
        'x',
      ],
      ...['\\', '/', 'class A {', '@d\n', '${', ' ', '\ud800'],
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 60 }),
        fc.constantFrom('python', 'javascript'),
        (pieces, language) => {
          const source = pieces.join('');
          let at = 0;
          for (const { start, end, startLine, endLine } of splitFunctions(source, language)) {
            expect(start).toBeGreaterThanOrEqual(at);
            expect(end).toBeGreaterThan(start);
            expect(end).toBeLessThanOrEqual(source.length);
            expect(endLine).toBeGreaterThanOrEqual(startLine);
            at = end;
          }
        },
      ),
      { seed: 8, numRuns: 500 },
    );
  });
});
