import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ServingError } from '../errors.js';
import { JsonObject, listElements } from './json-object.js';

const space = fc.constantFrom('', ' ', '\n\t', '\r\n ');
/** JSON text with random space, and numbers that no double holds. */
const jsonText: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom('null', 'true', 'false', '9007199254740993', '-1.50', '1E400', '0.10000000000000000001'),
    fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
    fc.constantFrom('"\\u00e9\\\\\\""', '"]},{"', '"\\\\"'),
    fc
      .tuple(fc.array(tie('value'), { maxLength: 3 }), space)
      .map(([items, gap]) => `[${gap}${items.join(`${gap},${gap}`)}${gap}]`),
    fc
      .tuple(fc.array(fc.tuple(fc.string(), tie('value')), { maxLength: 3 }), space)
      .map(
        ([items, gap]) =>
          `{${gap}${items.map(([key, value]) => `${JSON.stringify(key)}${gap}:${gap}${value}`).join(`${gap},`)}${gap}}`,
      ),
  ),
})).value;

const key = fc.oneof(fc.constantFrom('a', 'b', 'rid', '__proto__', 'k"\\'), fc.string({ maxLength: 4 }));
const objectText = fc
  .tuple(fc.array(fc.tuple(key, jsonText), { maxLength: 5 }), space, space)
  .map(([items, gap, around]) => {
    const members = items.map(([name, value]) => `${gap}${JSON.stringify(name)}${gap}:${gap}${value}${gap}`);
    return `${around}{${members.length === 0 ? gap : members.join(',')}}${around}`;
  });

describe('JsonObject', () => {
  it('keeps every character when nothing is changed', () => {
    fc.assert(
      fc.property(objectText, (text) => {
        expect(JsonObject.parse(text).with({ 'not there': undefined })).toBe(text);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('changes what it is told to and nothing else', () => {
    fc.assert(
      fc.property(
        objectText,
        fc.array(fc.tuple(key, fc.option(jsonText, { nil: undefined })), { maxLength: 3 }),
        (text, list) => {
          const edits = Object.fromEntries(list);
          const before = JsonObject.parse(text);
          const after = JsonObject.parse(before.with(edits));
          const names = new Set([...Object.keys(JSON.parse(text) as object), ...Object.keys(edits)]);
          for (const name of names) {
            const expected = Object.hasOwn(edits, name) ? edits[name] : before.raw(name);
            expect(after.raw(name)).toBe(expected);
          }
        },
      ),
      { seed: 2, numRuns: 500 },
    );
  });

  it('reads members as JSON.parse does', () => {
    fc.assert(
      fc.property(objectText, (text) => {
        const value = JSON.parse(text) as Record<string, unknown>;
        const object = JsonObject.parse(text);
        for (const name of Object.keys(value)) {
          expect(object.get(name)).toEqual(value[name]);
          expect(JSON.parse(object.raw(name)!)).toEqual(value[name]);
        }
      }),
      { seed: 3, numRuns: 300 },
    );
  });

  it('keeps integers beyond 2^53, spelling and order', () => {
    const text = '{ "seed" : 9223372036854775807, "x":1.0,\n "a":[ 1e2 ] }';
    expect(JsonObject.parse(text).with({ x: undefined })).toBe(
      '{ "seed" : 9223372036854775807,\n "a":[ 1e2 ] }',
    );
    expect(JsonObject.parse(text).with({ room: '18446744073709551615' })).toBe(
      '{ "seed" : 9223372036854775807, "x":1.0,\n "a":[ 1e2 ] ,"room":18446744073709551615}',
    );
    expect(JsonObject.parse(text).raw('seed')).toBe('9223372036854775807');
  });

  it('removes a member under every spelling and as often as it occurs', () => {
    const text = '{"rid":1,"r\\u0069d":2,"b":3,"\\u0072id":4}';
    expect(JsonObject.parse(text).with({ rid: undefined })).toBe('{"b":3}');
    expect(JsonObject.parse(text).with({ rid: '9' })).toBe('{"b":3,"\\u0072id":9}');
  });

  it('empties and fills', () => {
    expect(JsonObject.parse('{"a":1}').with({ a: undefined })).toBe('{}');
    expect(JsonObject.parse(' { } ').with({ a: '1' })).toBe(' {"a":1} ');
  });

  it.each(['', 'null', '[]', '1', '"x"', '{', '{"a":1,}', '{"a":01}', '\u{feff}{}'])('refuses %j', (text) => {
    expect(() => JsonObject.parse(text)).toThrow(ServingError);
    expect(JsonObject.tryParse(text)).toBeUndefined();
  });

  it('is no slower for depth', () => {
    const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)},"b":1}`;
    expect(JsonObject.parse(deep).with({ a: undefined })).toBe('{"b":1}');
  });
});

describe('listElements', () => {
  it('gives the elements as they were written', () => {
    expect(listElements('[ 1 , [2,3],"a]b" , {"c":[]} ]')).toEqual(['1', '[2,3]', '"a]b"', '{"c":[]}']);
    expect(listElements(' [ ] ')).toEqual([]);
  });

  it('agrees with JSON.parse', () => {
    fc.assert(
      fc.property(fc.array(jsonText), space, (items, gap) => {
        const text = `[${gap}${items.join(`${gap},${gap}`)}${gap}]`;
        expect(listElements(text)).toEqual(items.map((item) => item));
      }),
      { seed: 4, numRuns: 300 },
    );
  });
});
