import {
  type Attack,
  attackTable,
  homoglyphAttack,
  normalizeText,
  paraphraseAttack,
  standardAttacks,
  synonymAttack,
  zeroWidthAttack,
} from '@moestack/detect';
import { generator } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const text =
  'The color of the old theater was gray. I realized in 1984 that a neighbor had organized the whole program! Was it an honor?';
const applied = (attack: Attack, seed = 1, input = text): string =>
  attack.apply(input, { random: generator(seed) }) as string;

describe('attacks', () => {
  it('change the text, the same for the same seed', () => {
    for (const attack of standardAttacks()) {
      expect(applied(attack)).not.toBe(text);
      expect(applied(attack)).toBe(applied(attack));
      expect(applied(attack, 1, '')).toBe('');
    }
  });

  it('do what they are named for', () => {
    const byName = Object.fromEntries(standardAttacks().map((attack) => [attack.name, applied(attack)]));
    expect(byName['alternative spelling']).toBe(
      'The colour of the old theatre was grey. I realised in 1984 that a neighbour had organised the whole programme! Was it an honour?',
    );
    expect(byName['zero-width']!.replaceAll('\u200b', '')).toBe(text);
    expect(byName['whitespace']!.replace(/ +/g, ' ')).toBe(text);
    expect(byName['case']!.toLowerCase()).toBe(text.toLowerCase());
    expect(byName['number']!.replace(/\d/g, '')).toBe(text.replace(/\d/g, ''));
    expect([...byName['misspelling']!].sort()).toEqual([...text].sort());
    expect(byName['article deletion']!.length).toBeLessThan(text.length);
    expect(byName['paragraph']!.replaceAll('\n\n', ' ')).toBe(text);
    expect(
      applied(synonymAttack((word) => (word === 'old' ? 'ancient' : undefined), { share: 1 })),
    ).toContain('the ancient theater');
  });

  it('are undone by normalising, as far as characters go', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii', maxLength: 200 }), fc.integer(), (plain, seed) => {
        for (const attack of [homoglyphAttack(), zeroWidthAttack(), homoglyphAttack({ share: 0.3 })])
          expect(normalizeText(applied(attack, seed, plain)).text).toBe(plain);
        expect(normalizeText(plain)).toMatchObject({ text: plain, suspicious: false });
      }),
      { numRuns: 200, seed: 3 },
    );
  });
});

describe('normalizeText', () => {
  it('leaves other scripts and joined characters alone', () => {
    for (const other of [
      '\u041c\u043e\u0441\u043a\u0432\u0430 \u0438 \u0440\u0435\u043a\u0430, \u0441\u043e\u043d \u0438 \u0446\u0432\u0435\u0442',
      '\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5',
      '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645',
      '\u{1f468}\u200d\u{1f469}\u200d\u{1f467} family',
    ]) {
      expect(normalizeText(other)).toMatchObject({ text: other, suspicious: false });
    }
  });

  it('counts what it changes and survives any text', () => {
    const { text: clean, findings } = normalizeText('p\u0430y\u200bp\u00adal\u202e\u00a0\ud800!');
    expect(clean).toBe('paypal \ufffd!');
    expect(findings).toEqual({ invisible: 2, directional: 1, homoglyphs: 1, spaces: 1, surrogates: 1 });
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.array(fc.integer({ min: 0, max: 0xffff })),
        (a, units) => {
          const once = normalizeText(a + String.fromCharCode(...units)).text;
          expect(() => encodeURIComponent(once)).not.toThrow();
        },
      ),
      { numRuns: 100, seed: 4 },
    );
  });
});

describe('attackTable', () => {
  /** A detector that counts plain Latin letters: homoglyphs blind it. */
  const score = (value: string): number => value.replace(/[^a-z]/g, '').length / value.length;

  it('attacks AI texts only and keeps the threshold', async () => {
    const human = Array.from({ length: 40 }, (_, i) => `${'1 '.repeat(30 + i)}some human words`);
    const ai = Array.from({ length: 30 }, (_, i) => `${'words without digits '.repeat(3)}${i}`);
    const paraphrase = paraphraseAttack(async (value) => value.toUpperCase());
    const random = (): (() => number) => generator(5);
    const rows = await attackTable({ human, ai }, score, {
      attacks: [homoglyphAttack(), paraphrase],
      random,
    });
    expect(rows.map(({ attack }) => attack)).toEqual(['none', 'homoglyph', 'paraphrase']);
    expect(rows[0]).toMatchObject({ shift: 0, tpr: { value: 1 } });
    expect(rows[0]!.auc.auc).toBe(1);
    expect(rows[1]!.shift).toBeLessThan(-0.3);
    expect(rows[2]).toMatchObject({ tpr: { value: 0 }, auc: { auc: 0 } });
    expect(rows[2]!.shift).toBeLessThan(rows[1]!.shift);
    const low = await attackTable({ human, ai }, (value) => -score(value), {
      attacks: [homoglyphAttack()],
      random,
      orientation: 'low',
    });
    expect(low[1]!.shift).toBeCloseTo(rows[1]!.shift, 12);
    await expect(
      attackTable({ human: human.slice(0, 10), ai }, score, { attacks: [], random }),
    ).rejects.toThrow('at least 20 human texts');
  });

  it('stops when aborted', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    const run = attackTable({ human: ['a'], ai: ['b'] }, score, {
      attacks: [],
      random: () => generator(1),
      signal,
    });
    await expect(run).rejects.toThrow('enough');
  });
});
