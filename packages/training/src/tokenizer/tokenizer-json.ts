import { PRETOKEN_PATTERN } from './pretokenize.js';
import { type BpeVocabulary, END_OF_TEXT_ID } from './train-bpe.js';

/** Text of the token that ends documents. */
export const END_OF_TEXT = '<|endoftext|>';

/** The Hugging Face `tokenizer.json` of a vocabulary. */
export function tokenizerJson(vocabulary: BpeVocabulary): Record<string, unknown> {
  const alphabet = byteLevelCharacters();
  const names = vocabulary.bytes.map((bytes, id) =>
    id === END_OF_TEXT_ID ? END_OF_TEXT : Array.from(bytes, (byte) => alphabet[byte]!).join(''),
  );
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: END_OF_TEXT_ID,
        content: END_OF_TEXT,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: PRETOKEN_PATTERN }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(names.map((name, id) => [name, id])),
      merges: vocabulary.merges.map(([left, right]) => [names[left], names[right]]),
    },
  };
}

/** The `tokenizer_config.json` beside it. The chat template writes the contents of the messages: no roles were trained. */
export function tokenizerConfigJson(contextTokens: number): Record<string, unknown> {
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    eos_token: END_OF_TEXT,
    model_max_length: contextTokens,
    clean_up_tokenization_spaces: false,
    chat_template: "{% for message in messages %}{{ message['content'] }}{% endfor %}",
  };
}

/** Character of each byte in byte-level vocabularies (GPT-2's table). */
function byteLevelCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
}
