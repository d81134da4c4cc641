import { z } from 'zod';
import { DetectError } from '../errors.js';
import type { Capability, LanguageModel, ModelIdentity, ScoreOptions, TokenScore } from './language-model.js';
import { LogProb } from './parse-answer.js';
import { maxTokensOf } from './prepare-text.js';

/** One text as a model scored it. */
export interface RecordedText {
  readonly text: string;
  readonly tokens: readonly Omit<TokenScore, 'row' | 'nextTokenId'>[];
  /** Logits `[tokens, vocabulary]` of a model with capability `full`. */
  readonly logits?: Float32Array;
}

/** What {@link recordModel} writes and {@link replayModel} reads; JSON except for `logits`. */
export interface Recording {
  readonly schemaVersion: 1;
  readonly identity: ModelIdentity;
  readonly capability: Capability;
  readonly texts: readonly RecordedText[];
}

const rank = z.boolean();
const recordingSchema: z.ZodType<Recording> = z.strictObject({
  schemaVersion: z.literal(1),
  identity: z.strictObject({
    name: z.string(),
    dtype: z.string(),
    vocabulary: z.int().positive().exactOptional(),
  }),
  capability: z.union([
    z.strictObject({ distribution: z.literal('full') }),
    z.strictObject({ distribution: z.literal('topK'), topK: z.int().positive(), rank }),
    z.strictObject({ distribution: z.literal('tokenOnly'), rank }),
  ]),
  texts: z.array(
    z.strictObject({
      text: z.string(),
      tokens: z.array(
        z.strictObject({
          tokenId: z.int().min(-1),
          text: z.string().exactOptional(),
          logProb: LogProb.exactOptional(),
          rank: z.int().min(1).exactOptional(),
          topLogProbs: z.array(LogProb).exactOptional(),
        }),
      ),
      logits: z.instanceof(Float32Array).exactOptional(),
    }),
  ),
});

/** Scores texts by a model and keeps what it said. */
export async function recordModel(
  model: LanguageModel,
  texts: readonly string[],
  options: ScoreOptions = {},
): Promise<Recording> {
  const recorded: RecordedText[] = [];
  for (const text of texts) {
    const tokens: RecordedText['tokens'][number][] = [];
    const rows: Float32Array[] = [];
    for await (const { row, nextTokenId: _, ...token } of model.score(text, options)) {
      tokens.push(token);
      if (row !== undefined) rows.push(row.slice());
    }
    const vocabulary = rows[0]?.length ?? 0;
    const logits = new Float32Array(rows.length * vocabulary);
    rows.forEach((row, t) => {
      logits.set(row, t * vocabulary);
    });
    recorded.push({ text, tokens, ...(rows.length > 0 && { logits }) });
  }
  return { schemaVersion: 1, identity: model.identity, capability: model.capability, texts: recorded };
}

/**
 * A model that repeats a recording: for tests, and for scores that others can check without the model.
 *
 * @throws DetectError `detect/bad-config` for a malformed recording; scoring a text that was not recorded is `detect/model`
 *
 * @example
 * ```ts
 * import { scoreText } from '@moestack/detect';
 * import { replayModel } from '@moestack/detect/replay';
 *
 * const performer = replayModel({
 *   schemaVersion: 1,
 *   identity: { name: 'demo', dtype: 'f32' },
 *   capability: { distribution: 'tokenOnly', rank: true },
 *   texts: [{ text: 'a b', tokens: [{ tokenId: 1 }, { tokenId: 2, logProb: -1.5, rank: 3 }] }],
 * });
 * console.log((await scoreText('lrr', 'a b', { performer })).value);
 * ```
 */
export function replayModel(recording: Recording): LanguageModel {
  const { identity, capability, texts } = checkRecording(recording);
  const byText = new Map(texts.map((entry) => [entry.text, entry]));
  return {
    identity,
    capability,
    async *score(text: string, options: ScoreOptions = {}): AsyncGenerator<TokenScore> {
      options.signal?.throwIfAborted();
      const entry = byText.get(text);
      if (entry === undefined) throw notRecorded(text, texts.length);
      const count = Math.min(entry.tokens.length, maxTokensOf(options));
      const vocabulary = entry.logits === undefined ? 0 : entry.logits.length / entry.tokens.length;
      for (let t = 0; t < count; t++) {
        yield {
          ...entry.tokens[t]!,
          nextTokenId: t + 1 < count ? entry.tokens[t + 1]!.tokenId : -1,
          ...(entry.logits !== undefined && {
            row: entry.logits.subarray(t * vocabulary, (t + 1) * vocabulary),
          }),
        };
      }
    },
    close: async () => {},
  };
}

/** A checked recording, from JSON that somebody else may have written. */
export function checkRecording(json: unknown): Recording {
  const parsed = recordingSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw badRecording(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`);
  }
  const recording = parsed.data;
  recording.texts.forEach(({ tokens, logits }, i) => {
    const full = recording.capability.distribution === 'full';
    if (full !== (logits !== undefined) && tokens.length > 0)
      throw badRecording(`texts.${i}.logits: expected ${full ? 'logits' : 'none'}`);
    if (logits !== undefined && (tokens.length === 0 || logits.length % tokens.length !== 0))
      throw badRecording(`texts.${i}.logits: ${logits.length} values for ${tokens.length} tokens`);
    if (full && tokens.some(({ tokenId }) => tokenId < 0))
      throw badRecording(`texts.${i}: a token without id`);
    if (full) return;
    tokens.forEach((token, t) => {
      const { capability } = recording;
      if (t === 0 || capability.distribution === 'full') return;
      if (token.logProb === undefined) throw badRecording(`texts.${i}.tokens.${t}.logProb: missing`);
      if (capability.rank && token.rank === undefined)
        throw badRecording(`texts.${i}.tokens.${t}.rank: missing`);
      if (capability.distribution === 'topK' && token.topLogProbs === undefined)
        throw badRecording(`texts.${i}.tokens.${t}.topLogProbs: missing`);
    });
  });
  return recording;
}

function badRecording(what: string): DetectError {
  return new DetectError({
    code: 'detect/bad-config',
    message: `expected a recording, got a bad field ${what}`,
    value: what,
    remedy: 'write recordings with recordModel',
  });
}

function notRecorded(text: string, count: number): DetectError {
  return new DetectError({
    code: 'detect/model',
    message: `expected one of the ${count} recorded texts, got ${JSON.stringify(text.slice(0, 60))}`,
    value: text.slice(0, 60),
    remedy: 'record the model on this text first',
  });
}
