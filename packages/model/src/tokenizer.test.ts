import { fileURLToPath } from 'node:url';
import { tinyMoe } from '@moestack/tiny-moe';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { WindowDetokenizer } from './detokenizer.js';
import { ModelError } from './errors.js';
import { loadTokenizer, Tokenizer } from './tokenizer.js';

const byteLevel = {
  version: '1.0',
  model: {
    type: 'BPE',
    vocab: { '<s>': 0, '</s>': 1, a: 2, b: 3, Ġ: 4, ab: 5, Ã: 6, '©': 7, ð: 8 },
    merges: [['a', 'b']],
  },
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
  decoder: { type: 'ByteLevel' },
  post_processor: null,
  added_tokens: [
    {
      id: 0,
      content: '<s>',
      special: true,
      lstrip: false,
      rstrip: false,
      normalized: false,
      single_word: false,
    },
    {
      id: 1,
      content: '</s>',
      special: true,
      lstrip: false,
      rstrip: false,
      normalized: false,
      single_word: false,
    },
  ],
};

let tiny: Tokenizer;
beforeAll(async () => {
  tiny = await loadTokenizer(fileURLToPath(tinyMoe));
});

describe('Tokenizer', () => {
  it('decodes what it encoded, for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), (text) => {
        expect(tiny.decode(tiny.encode(text), { skipSpecialTokens: false })).toBe(text);
      }),
      { numRuns: 300, seed: 3 },
    );
  });

  it('encodes nothing as nothing', () => {
    expect([...tiny.encode('')]).toEqual([]);
    expect(tiny.decode([])).toBe('');
  });

  it('puts the begin-of-sequence token in front where the configuration says so', () => {
    const config = { bos_token: { content: '<s>' }, eos_token: '</s>', add_bos_token: true };
    const tokenizer = new Tokenizer(byteLevel, config, undefined);
    expect([...tokenizer.encode('ab')]).toEqual([0, 5]);
    expect([...tokenizer.encode('')]).toEqual([0]);
    expect([...tokenizer.encode('<s>ab')]).toEqual([0, 5]);
    expect([...tokenizer.encode('ab', { addSpecialTokens: false })]).toEqual([5]);
    expect(tokenizer.bosTokenId).toBe(0);
    expect(tokenizer.eosTokenId).toBe(1);
  });

  it('leaves special tokens out unless asked for', () => {
    const tokenizer = new Tokenizer(byteLevel, {}, undefined);
    expect(tokenizer.decode([0, 5, 1])).toBe('ab');
    expect(tokenizer.decode([0, 5, 1], { skipSpecialTokens: false })).toBe('<s>ab</s>');
    expect(tokenizer.tokenText(1)).toBe('</s>');
  });

  it('gives the bytes of tokens that are parts of characters', () => {
    const tokenizer = new Tokenizer(byteLevel, {}, undefined);
    expect([...tokenizer.tokenBytes(6)]).toEqual([0xc3]);
    expect(tokenizer.tokenText(6)).toBe('\uFFFD');
    expect(tokenizer.decode([6, 7])).toBe('é');
  });

  it('ignores ids outside the vocabulary', () => {
    expect(tiny.decode([1 << 20])).toBe('');
  });
});

describe('createDetokenizer', () => {
  it('holds back incomplete characters and gives the text of the whole in the end', () => {
    const tokenizer = new Tokenizer(byteLevel, {}, undefined);
    const detokenizer = tokenizer.createDetokenizer();
    expect([6, 7, 2].map((token) => detokenizer.push(token))).toEqual(['', 'é', 'a']);
    expect(detokenizer.push(8)).toBe('');
    expect(detokenizer.flush()).toBe('\uFFFD');
  });

  it('returns pieces that make up the decoded text, for any tokens', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1023 }), { maxLength: 80 }), (tokens) => {
        const detokenizer = tiny.createDetokenizer();
        let text = '';
        for (const token of tokens) text += detokenizer.push(token);
        text += detokenizer.flush();
        const bytes = tokens.flatMap((token) => [...tiny.tokenBytes(token)]);
        expect(text).toBe(tiny.decode(tokens));
        if (!tokens.includes(0))
          expect(text).toBe(new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes)));
      }),
      { numRuns: 500, seed: 5 },
    );
  });

  it('never sends a replacement character for text that is valid', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), (text) => {
        const detokenizer = tiny.createDetokenizer({ skipSpecialTokens: false });
        for (const token of tiny.encode(text)) expect(detokenizer.push(token)).not.toContain('\uFFFD');
        expect(detokenizer.flush()).toBe('');
      }),
      { numRuns: 300, seed: 9 },
    );
  });

  it('works on vocabularies with space markers and byte fallback', () => {
    const words = ['▁to', 'day', '▁is', '<c3>', '<a9>', '▁x'];
    // Strips the leading space, as SentencePiece decoders do, and joins the two bytes of é.
    const decode = (tokens: number[]): string =>
      tokens
        .map((token) => words[token]!)
        .join('')
        .replaceAll('<c3><a9>', 'é')
        .replaceAll(/<..>/g, '\uFFFD')
        .replaceAll('▁', ' ')
        .replace(/^ /, '');
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 30 }), (tokens) => {
        const detokenizer = new WindowDetokenizer(decode);
        let text = '';
        for (const token of tokens) text += detokenizer.push(token);
        expect(text + detokenizer.flush()).toBe(tokens.length === 0 ? '' : decode(tokens));
      }),
      { numRuns: 500, seed: 13 },
    );
  });
});

describe('applyChatTemplate', () => {
  const template =
    '{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}{% if messages|length > 2 %}{{ raise_exception("too long") }}{% endif %}';

  it('renders messages with special tokens and the generation prompt', () => {
    const tokenizer = new Tokenizer(byteLevel, { bos_token: '<s>' }, template);
    const messages = [{ role: 'user', content: 'ab' }];
    expect(tokenizer.applyChatTemplate(messages)).toBe('<s><user>ab<assistant>');
    expect(tokenizer.applyChatTemplate(messages, { addGenerationPrompt: false })).toBe('<s><user>ab');
  });

  it('concatenates the contents for the tiny model', () => {
    const messages = [
      { role: 'system', content: 'And ' },
      { role: 'user', content: 'so' },
    ];
    expect(tiny.applyChatTemplate(messages)).toBe('And so');
  });

  it('says that a model has no template, or that the template refuses', () => {
    const codeOf = (body: () => unknown): unknown => {
      try {
        return body();
      } catch (error) {
        return ModelError.isInstance(error) ? error.code : error;
      }
    };
    const message = { role: 'user', content: 'a' };
    expect(codeOf(() => new Tokenizer(byteLevel, {}, undefined).applyChatTemplate([message]))).toBe(
      'model/bad-template',
    );
    const strict = new Tokenizer(byteLevel, {}, template);
    expect(codeOf(() => strict.applyChatTemplate([message, message, message]))).toBe('model/bad-template');
    expect(codeOf(() => new Tokenizer(byteLevel, {}, '{% for %}'))).toBe('model/bad-template');
  });
});
