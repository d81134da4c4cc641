import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createGuardrail,
  findPii,
  type GuardrailPolicy,
  type PiiType,
  piiTypes,
} from '../src/guardrail/index.js';

const found = (text: string, type: PiiType): string[] =>
  findPii(text, type).map(({ start, end }) => text.slice(start, end));

describe('findPii', () => {
  it.each([
    ['EMAIL', 'write to ann.lee+x@mail.example.org.', ['ann.lee+x@mail.example.org']],
    ['EMAIL', 'not@home, nor @handle', []],
    ['CREDIT_DEBIT_CARD_NUMBER', 'pay 4111 1111 1111 1111 or 4111111111111112', ['4111 1111 1111 1111']],
    ['CREDIT_DEBIT_CARD_NUMBER', '0000 0000 0000 0000', []],
    [
      'INTERNATIONAL_BANK_ACCOUNT_NUMBER',
      'to GB82 WEST 1234 5698 7654 32, not GB82 WEST 1234 5698 7654 33',
      ['GB82 WEST 1234 5698 7654 32'],
    ],
    ['INTERNATIONAL_BANK_ACCOUNT_NUMBER', 'DE89370400440532013000', ['DE89370400440532013000']],
    [
      'IP_ADDRESS',
      '10.0.0.255 and 10.0.0.256 and 2001:db8:0:0:0:0:0:1 and fe80::1',
      ['10.0.0.255', '2001:db8:0:0:0:0:0:1', 'fe80::1'],
    ],
    ['US_SOCIAL_SECURITY_NUMBER', '123-45-6789, 000-12-3456, 666-12-3456, 900-12-3456', ['123-45-6789']],
    ['PHONE', 'call +49 30 901820 or (415) 555-0132, room 12', ['+49 30 901820', '(415) 555-0132']],
    ['MAC_ADDRESS', '00:1B:44:11:3A:B7', ['00:1B:44:11:3A:B7']],
    ['AWS_ACCESS_KEY', 'AKIAIOSFODNN7EXAMPLE', ['AKIAIOSFODNN7EXAMPLE']],
    ['URL', 'see https://example.org/a?b=c now', ['https://example.org/a?b=c']],
    ['UK_NATIONAL_INSURANCE_NUMBER', 'QQ123456C AB123456C', ['AB123456C']],
  ] as const)('finds %s in "%s"', (type, text, expected) => {
    expect(found(text, type)).toEqual(expected);
  });

  it('gives ordered, disjoint ranges for any text', () => {
    const piece = fc.constantFrom(
      '1',
      '4111',
      '-',
      ' ',
      '@',
      '.',
      'a',
      'GB82',
      ':',
      '+',
      '(',
      ')',
      '\ud800',
      'http://',
      '\n',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 80 }), fc.constantFrom(...piiTypes), (pieces, type) => {
        const text = pieces.join('');
        let at = 0;
        for (const { start, end } of findPii(text, type)) {
          expect(start).toBeGreaterThanOrEqual(at);
          expect(end).toBeGreaterThan(start);
          at = end;
        }
        expect(at).toBeLessThanOrEqual(text.length);
      }),
      { seed: 31, numRuns: 500 },
    );
  });

  it('takes long hostile texts', () => {
    for (const text of [
      '1 '.repeat(50_000),
      'a.'.repeat(50_000),
      'a@'.repeat(50_000),
      'A1'.repeat(50_000),
      '::'.repeat(50_000),
    ])
      for (const type of piiTypes) expect(findPii(text, type).length).toBeGreaterThanOrEqual(0);
  });
});

describe('createGuardrail', () => {
  const policy: GuardrailPolicy = {
    name: 'test',
    topics: [{ name: 'medical', patterns: ['\\b(?:diagnos\\w+|prescri\\w+)\\b'] }],
    words: { list: ['darn it', 'C++'] },
    pii: [{ type: 'EMAIL' }, { type: 'US_SOCIAL_SECURITY_NUMBER', mode: 'block' }],
    regexes: [{ name: 'ticket', pattern: 'TCK-\\d{4,6}' }],
  };
  const guardrail = createGuardrail(policy);

  it('blocks, masks and lets pass', () => {
    expect(guardrail.check('a prescription', 'INPUT')).toMatchObject({
      action: 'blocked',
      text: 'This request was blocked by a content policy.',
    });
    expect(guardrail.check('DARN  it', 'OUTPUT').action).toBe('blocked');
    expect(guardrail.check('I like C++, not C', 'OUTPUT').findings[0]?.match).toBe('C++');
    expect(guardrail.check('darned items', 'OUTPUT').action).toBe('none');
    expect(guardrail.check('a@b.org has TCK-12345.', 'OUTPUT')).toMatchObject({
      action: 'redacted',
      text: '{EMAIL} has {ticket}.',
    });
    expect(guardrail.check('123-45-6789', 'OUTPUT').action).toBe('blocked');
  });

  it('masks every finding and nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a@b.org', ' ', 'TCK-1234', 'word', '\n', ', '), { maxLength: 30 }),
        (pieces) => {
          const text = pieces.join(' ');
          const result = guardrail.check(text, 'OUTPUT');
          expect(result.text).toBe(text.replaceAll('a@b.org', '{EMAIL}').replaceAll('TCK-1234', '{ticket}'));
        },
      ),
      { seed: 32, numRuns: 200 },
    );
  });

  it('can be made to annotate or block all', () => {
    const text = 'a@b.org, a prescription';
    expect(createGuardrail(policy, { mode: 'annotate' }).check(text, 'OUTPUT')).toMatchObject({
      action: 'annotated',
      text,
    });
    expect(createGuardrail(policy, { mode: 'block' }).check('a@b.org', 'OUTPUT').action).toBe('blocked');
  });

  it('asks the detector, and does not take abstention for AI', () => {
    const ai = createGuardrail({ name: 'ai', aiText: { sources: ['INPUT'] } });
    expect(ai.check('Too short.', 'INPUT')).toMatchObject({ action: 'none', verdict: { label: 'abstain' } });
    expect(ai.check('Too short.', 'OUTPUT').verdict).toBeUndefined();
  });

  it('refuses policies that are wrong', () => {
    expect(() => createGuardrail({ name: '' })).toThrow(/name/);
    expect(() => createGuardrail({ name: 'x', pii: [{ type: 'NAME' as 'EMAIL' }] })).toThrow(/NAME/);
    expect(() => createGuardrail({ name: 'x', regexes: [{ name: 'y', pattern: '(a' }] })).toThrow(/missing/);
    expect(() => createGuardrail({ name: 'x', words: { list: ['a'], mode: 'delete' as 'block' } })).toThrow(
      /delete/,
    );
  });
});
