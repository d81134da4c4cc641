import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { byteLevelAlphabet, byteLevelBytes } from './byte-level.js';
import { type ChatMessage, ChatTemplate, type ChatTemplateOptions } from './chat-template.js';
import { ByteDetokenizer, type Detokenizer, type TokenPiece, WindowDetokenizer } from './detokenizer.js';
import { ModelError } from './errors.js';
import { missingFile, readOptionalJson, readOptionalText } from './model-files.js';

const SpecialToken = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();

/** The fields of `tokenizer_config.json` that are used; the rest passes through to the tokenizer library. */
const TokenizerConfig = z.looseObject({
  bos_token: SpecialToken,
  eos_token: SpecialToken,
  unk_token: SpecialToken,
  pad_token: SpecialToken,
  add_bos_token: z.boolean().nullish(),
  chat_template: z
    .union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))])
    .nullish(),
});
type TokenizerConfig = z.infer<typeof TokenizerConfig>;

const TokenizerJson = z.looseObject({
  model: z.looseObject({}),
  decoder: z.looseObject({ type: z.string() }).nullish(),
  added_tokens: z
    .array(z.looseObject({ id: z.int(), content: z.string(), special: z.boolean().default(false) }))
    .default([]),
});
type TokenizerJson = z.infer<typeof TokenizerJson>;

/** Ids size tables; vocabularies of models stay far below. */
const MAX_TOKEN_ID = 1 << 22;

/** Options of encoding a text. */
export interface EncodeOptions {
  /** Put the model's begin-of-sequence token in front, if it has one. Default true; false for rendered chat templates, which write it themselves. */
  readonly addSpecialTokens?: boolean;
}

/** Options of decoding tokens. */
export interface DecodeOptions {
  /** Leave out special tokens such as end of sequence. Default true. */
  readonly skipSpecialTokens?: boolean;
}

/** Text to token ids and back, for one model directory. */
export class Tokenizer {
  /** Ids run from 0 to this number, exclusive. */
  readonly vocabularySize: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  private readonly tokenizer: HuggingFaceTokenizer;
  private readonly addsBos: boolean;
  private readonly chatTemplate: ChatTemplate | undefined;
  private readonly pieces: readonly (TokenPiece | undefined)[] | undefined;
  private readonly specialIds: ReadonlySet<number>;

  constructor(json: TokenizerJson, config: TokenizerConfig, template: string | undefined) {
    requireSmallIds(json);
    this.tokenizer = new HuggingFaceTokenizer(json, config);
    const vocabulary = this.tokenizer.get_vocab(true);
    let largest = -1;
    for (const id of vocabulary.values()) largest = Math.max(largest, id);
    this.vocabularySize = largest + 1;
    this.bosTokenId = idOf(vocabulary, config.bos_token);
    this.eosTokenId = idOf(vocabulary, config.eos_token);
    this.addsBos = config.add_bos_token === true;
    this.specialIds = new Set(json.added_tokens.filter((token) => token.special).map((token) => token.id));
    this.chatTemplate =
      template === undefined ? undefined : new ChatTemplate(template, specialVariables(config));
    this.pieces = json.decoder?.type === 'ByteLevel' ? bytePieces(json, vocabulary, largest + 1) : undefined;
  }

  /** Token ids of a text. */
  encode(text: string, options: EncodeOptions = {}): Int32Array {
    const special = options.addSpecialTokens ?? true;
    const ids = text === '' ? [] : this.tokenizer.encode(text, { add_special_tokens: special }).ids;
    if (special && this.addsBos && this.bosTokenId !== undefined && ids[0] !== this.bosTokenId) {
      return Int32Array.of(this.bosTokenId, ...ids);
    }
    return Int32Array.from(ids);
  }

  /** Text of token ids. Bytes that are no UTF-8 become U+FFFD. */
  decode(tokens: ArrayLike<number>, options: DecodeOptions = {}): string {
    const detokenizer = this.createDetokenizer(options);
    let text = '';
    for (let i = 0; i < tokens.length; i++) text += detokenizer.push(tokens[i]!);
    return text + detokenizer.flush();
  }

  /** A decoder for tokens that come one by one, as in a generation. */
  createDetokenizer(options: DecodeOptions = {}): Detokenizer {
    const skip = options.skipSpecialTokens ?? true;
    const { pieces, specialIds, tokenizer } = this;
    if (pieces !== undefined) {
      return new ByteDetokenizer((token) => {
        if (skip && specialIds.has(token)) return { type: 'skipped' };
        return pieces[token] ?? { type: 'skipped' };
      });
    }
    return new WindowDetokenizer((tokens) =>
      // The legacy clean-up of spaces rewrites text that was sent already, so it never applies.
      tokenizer.decode(tokens, { skip_special_tokens: skip, clean_up_tokenization_spaces: false }),
    );
  }

  /** Text of one token by itself, as log-probability lists show it: U+FFFD where it is part of a character. */
  tokenText(token: number): string {
    return this.decode([token], { skipSpecialTokens: false });
  }

  /** Bytes of one token, where the vocabulary is byte-level; else the bytes of its text. */
  tokenBytes(token: number): Uint8Array {
    const piece = this.pieces?.[token];
    return piece?.type === 'bytes' ? piece.bytes.slice() : new TextEncoder().encode(this.tokenText(token));
  }

  /** Whether {@link Tokenizer.applyChatTemplate} can work. */
  get hasChatTemplate(): boolean {
    return this.chatTemplate !== undefined;
  }

  /**
   * The prompt of a conversation, by the model's own template; encode it with `addSpecialTokens: false`.
   *
   * @throws ModelError `model/bad-template` where the model has none, or it cannot render these messages.
   */
  applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    if (this.chatTemplate === undefined) {
      throw new ModelError({
        code: 'model/bad-template',
        message: 'this model has no chat template',
        remedy: 'send text instead of messages, or add chat_template to tokenizer_config.json',
      });
    }
    return this.chatTemplate.render(messages, options);
  }
}

/**
 * Loads `tokenizer.json`, `tokenizer_config.json` and the chat template of a model directory.
 *
 * @throws ModelError `model/missing-file` for a directory without `tokenizer.json`, `model/bad-tokenizer` for files that
 * cannot be used.
 */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  const json = await readOptionalJson(path, 'tokenizer.json', 'model/bad-tokenizer');
  if (json === undefined) {
    throw missingFile(
      `tokenizer.json in ${path}`,
      'put the tokenizer.json of the model beside its weights, or send token ids instead of text',
    );
  }
  const config = (await readOptionalJson(path, 'tokenizer_config.json', 'model/bad-tokenizer')) ?? {};
  const parsedConfig = check(TokenizerConfig, config, 'tokenizer_config.json');
  const parsedJson = check(TokenizerJson, json, 'tokenizer.json');
  const template = (await readOptionalText(path, 'chat_template.jinja')) ?? templateOf(parsedConfig);
  try {
    return new Tokenizer(parsedJson, parsedConfig, template);
  } catch (cause) {
    if (ModelError.isInstance(cause)) throw cause;
    throw badTokenizer('tokenizer.json', cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function templateOf(config: TokenizerConfig): string | undefined {
  const template = config.chat_template;
  if (template === null || template === undefined || typeof template === 'string')
    return template ?? undefined;
  return (template.find((entry) => entry.name === 'default') ?? template[0])?.template;
}

function check<T>(schema: z.ZodType<T>, json: unknown, file: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw badTokenizer(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`);
}

/** The tokenizer below sizes its tables by the largest id, whatever it is. */
function requireSmallIds(json: TokenizerJson): void {
  const { model } = json as { model?: { vocab?: unknown } | null };
  const vocabulary =
    typeof model?.vocab === 'object' && model.vocab !== null ? Object.values(model.vocab) : [];
  for (const id of [...vocabulary, ...json.added_tokens.map((token) => token.id)]) {
    if (typeof id === 'number' && !(id >= 0 && id <= MAX_TOKEN_ID))
      throw badTokenizer('tokenizer.json', `expected token ids from 0 to ${MAX_TOKEN_ID}, got ${id}`);
  }
}

function badTokenizer(file: string, reason: string, cause?: unknown): ModelError {
  return new ModelError({
    code: 'model/bad-tokenizer',
    message: `${file} cannot be used: ${reason.slice(0, 500)}`,
    value: file,
    remedy: 'download the tokenizer files of the model again',
    cause,
  });
}

function contentOf(token: z.infer<typeof SpecialToken>): string | undefined {
  if (token === null || token === undefined) return undefined;
  return typeof token === 'string' ? token : token.content;
}

function idOf(
  vocabulary: ReadonlyMap<string, number>,
  token: z.infer<typeof SpecialToken>,
): number | undefined {
  const content = contentOf(token);
  return content === undefined ? undefined : vocabulary.get(content);
}

function specialVariables(config: TokenizerConfig): Record<string, unknown> {
  const variables: Record<string, unknown> = {};
  for (const name of ['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const) {
    const content = contentOf(config[name]);
    if (content !== undefined) variables[name] = content;
  }
  return variables;
}

function bytePieces(
  json: TokenizerJson,
  vocabulary: ReadonlyMap<string, number>,
  size: number,
): (TokenPiece | undefined)[] {
  const alphabet = byteLevelAlphabet();
  const pieces: (TokenPiece | undefined)[] = new Array<TokenPiece | undefined>(size).fill(undefined);
  for (const [token, id] of vocabulary) {
    const bytes = byteLevelBytes(token, alphabet);
    pieces[id] = bytes === undefined ? { type: 'text', text: token } : { type: 'bytes', bytes };
  }
  for (const token of json.added_tokens) pieces[token.id] = { type: 'text', text: token.content };
  return pieces;
}
