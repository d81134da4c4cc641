import { type Below, type FuzzResult, fuzzed } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import {
  applyGuardrail,
  createGuardrail,
  LinearPattern,
  parseApplyGuardrailBody,
  piiTypes,
} from '../src/guardrail/index.js';
import { auditTexts, codeQuality, detectSpans, detectText, splitFunctions } from '../src/index.js';

const PIECES = [
  ...[
    'the ',
    'and ',
    'He was',
    '. ',
    '!" ',
    '\n',
    '\n\n',
    '\u200b',
    '\u202e',
    '\ud800',
    '\udc00',
    '\u0430',
    '\ufdfa',
    '\0',
    '  ',
    '\t',
  ],
  ...[
    '4111 1111 1111 1111',
    'a@b.org',
    '10.0.0.1',
    '::1',
    '+49 30 1234567',
    '{',
    '}',
    '(',
    ')',
    '"',
    "'",
    '`',
    '/*',
    '*/',
    '//',
    '#',
  ],
  ...[
    'def f():\n ',
    'function f() {',
    '=>',
    '[',
    ']',
    '*',
    '+',
    '?',
    '{2,3}',
    '\\',
    '|',
    '^',
    '$',
    '.',
    '-',
    'x',
    '0',
  ],
];

const BODY = {
  source: 'INPUT',
  outputScope: 'FULL',
  content: [{ text: { text: 'write to a@b.org', qualifiers: ['guard_content'] } }],
};
const guardrail = createGuardrail({
  name: 'fuzz',
  aiText: {},
  topics: [{ name: 't', patterns: ['(?:the|and) +\\w+'] }],
  words: { list: ['He was'] },
  pii: piiTypes.map((type) => ({ type })),
});

/**
 * Feeds random texts, patterns and bodies to everything that reads what others wrote.
 *
 * @param seed - same seed, same inputs.
 * @throws Error naming seed and iteration when anything but a MoestackError comes out.
 */
export function fuzz(seed: number, iterations: number): Promise<FuzzResult> {
  return fuzzed(seed, iterations, MoestackError.isInstance, (below) => {
    const text = (most: number): string =>
      Array.from({ length: below(most) }, () => PIECES[below(PIECES.length)]).join('');
    const kind = below(5);
    if (kind === 0) new LinearPattern(text(12)).matches(text(20));
    else if (kind === 1) {
      const verdict = detectText(text(200));
      if (!Number.isFinite(verdict.score) || !(verdict.probability >= 0 && verdict.probability <= 1))
        throw new Error(`score ${verdict.score}, probability ${verdict.probability}`);
    } else if (kind === 2) {
      applyGuardrail(guardrail, parseApplyGuardrailBody(mutate(BODY, text, below)));
    } else if (kind === 3) {
      for (const language of ['python', 'javascript'] as const) splitFunctions(text(60), language);
      codeQuality(text(60));
      detectSpans(text(150));
    } else auditTexts(Array.from({ length: below(5) }, () => ({ text: text(30), isAi: below(2) === 0 })));
  });
}

function mutate(value: unknown, text: (most: number) => string, below: Below): unknown {
  const choice = below(12);
  if (choice === 0) return [null, 1, '', [], {}, true][below(6)];
  if (typeof value === 'string') return choice < 8 ? value : text(30);
  if (Array.isArray(value)) return value.map((item) => mutate(item, text, below));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mutate(item, text, below)]));
}
