import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DetectError } from '../errors.js';
import { createEmbeddedDetector, detectText } from './index.js';
import { proseModel } from './prose-weights.js';
import type { Verdict } from './verdict.js';

/** Written for this test. */
const NOTE = `I went down to the harbour on Tuesday because Dad had left his coat on the boat again, and he wasn't going to
fetch it himself with that knee. Nobody about except old Pettersson, who was mending something with wire and swearing at it. He
said the wind would turn by four. It turned at three. I got the coat, got soaked, and when I came home Dad was wearing another one
and asked what had taken me so long. So I hung the wet thing over the stove, and we had herring and didn't talk much about it.`;

function isSound(verdict: Verdict): void {
  expect(['human', 'ai', 'abstain']).toContain(verdict.label);
  expect(Number.isFinite(verdict.score)).toBe(true);
  const [low, high] = verdict.interval;
  expect(low).toBeGreaterThanOrEqual(0);
  expect(high).toBeLessThanOrEqual(1);
  expect(verdict.probability).toBeGreaterThanOrEqual(low);
  expect(verdict.probability).toBeLessThanOrEqual(high);
  expect(verdict.reasons.length).toBeGreaterThan(0);
  for (const window of verdict.windows) {
    expect(Number.isFinite(window.score) && window.probability >= 0 && window.probability <= 1).toBe(true);
    expect(window.start).toBeLessThanOrEqual(window.end);
  }
}

describe('detectText', () => {
  it('judges a note as written by a person', () => {
    const verdict = detectText(NOTE);
    isSound(verdict);
    expect(verdict).toMatchObject({ label: 'human', model: proseModel.id, alpha: 0.05 });
    expect(verdict.probability).toBeLessThan(0.3);
  });

  it('abstains where it has no say, and says why', () => {
    expect(detectText('Too few words.')).toMatchObject({
      label: 'abstain',
      reasons: [{ code: 'too-short' }],
    });
    expect(detectText('')).toMatchObject({ label: 'abstain', probability: 0.5, interval: [0, 1], words: 0 });
    const code = 'export function add(a, b) {\n  const sum = a + b;\n  return sum;\n}\n'.repeat(12);
    expect(detectText(code)).toMatchObject({
      label: 'abstain',
      interval: [0, 1],
      reasons: [{ code: 'code' }],
    });
    const german = `Am Dienstag ging ich zum Hafen hinunter, weil mein Vater seinen Mantel wieder auf dem Boot gelassen hatte, und mit
      diesem Knie wollte er ihn nicht selbst holen. Niemand war da außer dem alten Pettersson, der etwas mit Draht flickte und dabei
      fluchte. Er sagte, um vier werde der Wind drehen. Er drehte um drei, und ich wurde nass bis auf die Haut.`;
    expect(detectText(german)).toMatchObject({ label: 'abstain', reasons: [{ code: 'not-english' }] });
    const greek = 'και το πρωί πήγα στο λιμάνι με τον πατέρα μου για να πάρω το παλτό του '.repeat(8);
    expect(detectText(greek)).toMatchObject({ label: 'abstain', reasons: [{ code: 'not-english' }] });
  });

  it('does not see layout, quotes, dashes or hidden characters', () => {
    const { score } = detectText(NOTE);
    const flat = NOTE.replace(/\s+/g, ' ');
    expect(detectText(flat).score).toBe(score);
    expect(detectText(flat.replace(/\. /g, '.\n\n')).score).toBe(score);
    expect(detectText(flat.replaceAll("'", '’').replaceAll(', ', ' , ')).score).toBe(score);
    const hidden = detectText(flat.replaceAll('the', 't\u200bhe').replaceAll('wire', 'w\u0456re'));
    expect(hidden.score).toBe(score);
    expect(hidden.reasons.map(({ code }) => code)).toContain('tampered-characters');
  });

  it('takes an average over the windows of a long text and says what it left out', () => {
    const long = detectText(`${NOTE} `.repeat(40), { maximumWindows: 3 });
    expect(long.windows).toHaveLength(3);
    expect(long.reasons.map(({ code }) => code)).toContain('sampled');
    const mean = long.windows.reduce((sum, { score }) => sum + score, 0) / 3;
    expect(long.score).toBeCloseTo(mean, 12);
  });

  it('is more careful with a smaller alpha, and refuses others', () => {
    expect(createEmbeddedDetector({ alpha: 0.01 }).detect(NOTE).alpha).toBe(0.01);
    expect(() => detectText(NOTE, { alpha: 0.2 as 0.1 })).toThrow(DetectError);
    expect(() => detectText(NOTE, { minimumWords: -1 })).toThrow(DetectError);
    expect(() => detectText(undefined as unknown as string)).toThrow(DetectError);
  });

  it('stays sound on any string', () => {
    const unit = fc.oneof(
      fc.constantFrom(
        '\ud800',
        '\udfff',
        '\u202e',
        '\u200b',
        '\u0430',
        '\ufdfa',
        '\n',
        ' ',
        '"',
        '(',
        '.',
        'the',
        'and',
      ),
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.lorem({ maxCount: 20 }),
    );
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 60 }), (units) => isSound(detectText(units.join('')))),
      { seed: 11, numRuns: 300 },
    );
  });

  it.each([
    ['one word', 'a'.repeat(10_000_000)],
    ['white space', ' \n'.repeat(5_000_000)],
    ['prose', `${NOTE} `.repeat(20_000)],
    ['expanding characters', '\ufdfa '.repeat(3_000_000)],
    ['quotes', `"' `.repeat(3_000_000)],
    ['lone surrogates', '\ud800 '.repeat(4_000_000)],
  ])('takes 10 MB of %s', (_, text) => isSound(detectText(text)));
});
