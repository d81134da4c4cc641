import type { CorpusConfig } from '@moestack/schemas';
import type { PassageExclusion } from './exclude-passages.js';
import { findNearDuplicates, type NearDuplicate, type WordWindow } from './near-duplicates.js';
import type { SourceDocument } from './read-sources.js';
import { mergeRanges, rangesLength, subtractRanges, type TextRange } from './text-ranges.js';
import { splitWords, type WordStream } from './word-stream.js';

/** What of a document is trained on, what is held out, and what neither. */
export interface SplitDocument {
  readonly train: readonly TextRange[];
  /** The end of the document; empty where nothing is held out. */
  readonly heldOut: TextRange;
  readonly excludedCharacters: number;
  readonly duplicateCharacters: number;
}

/** All documents split, and how many near-duplicates were found. */
export interface SplitResult {
  readonly documents: readonly SplitDocument[];
  readonly pairs: number;
  readonly ofHeldOut: number;
}

/**
 * Splits documents: the end of each is held out; from the rest goes what an exclusion names, near-duplicates of held-out
 * text, and near-duplicates of earlier documents.
 */
export function splitDocuments(
  documents: readonly SourceDocument[],
  config: Pick<CorpusConfig, 'heldOutFraction' | 'nearDuplicates'>,
  exclusion: PassageExclusion,
): SplitResult {
  const cuts = documents.map(({ text }) => cutBefore(text, text.length * (1 - config.heldOutFraction)));
  // Text 2i is what document i trains on, 2i + 1 what it holds out.
  const streams: WordStream[] = documents.flatMap(({ text }, i) => [
    splitWords(text.slice(0, cuts[i])),
    splitWords(text.slice(cuts[i])),
  ]);
  const removed: TextRange[][] = documents.map(() => []);
  let ofHeldOut = 0;
  const remove = (window: WordWindow): void => {
    const { starts, ends } = streams[window.text]!;
    removed[window.text >> 1]!.push({ start: starts[window.from]!, end: ends[window.to - 1]! });
  };
  const pairs = findNearDuplicates(streams, config.nearDuplicates);
  for (const pair of pairs) {
    const [first, second] = [isHeldOut(pair.first), isHeldOut(pair.second)];
    if (first !== second) {
      ofHeldOut++;
      remove(first ? pair.second : pair.first);
    } else if (!first) remove(laterOf(pair));
  }
  const split = documents.map(({ text }, i): SplitDocument => {
    // Only to count passages that stand in held-out text: nothing of that is trained on.
    exclusion.find(streams[2 * i + 1]!);
    const duplicates = mergeRanges(removed[i]!);
    const excluded = exclusion.find(streams[2 * i]!);
    const train = subtractRanges({ start: 0, end: cuts[i]! }, [...duplicates, ...excluded]);
    return {
      train,
      heldOut: { start: cuts[i]!, end: text.length },
      excludedCharacters: rangesLength(excluded),
      duplicateCharacters: cuts[i]! - rangesLength(train) - rangesLength(excluded),
    };
  });
  return { documents: split, pairs: pairs.length, ofHeldOut };
}

function isHeldOut({ text }: WordWindow): boolean {
  return text % 2 === 1;
}

function laterOf({ first, second }: NearDuplicate): WordWindow {
  return first.text > second.text ? first : second;
}

/** The last place at or before `limit` where a line, else a sentence, else a word begins; never within a character. */
function cutBefore(text: string, limit: number): number {
  const end = Math.floor(limit);
  if (end >= text.length) return text.length;
  const nearest = Math.max(0, end - 400);
  const before = text.slice(nearest, end);
  for (const mark of ['\n', '. ', ' ']) {
    const at = before.lastIndexOf(mark);
    if (at !== -1) return nearest + at + mark.length - (mark === '\n' ? 0 : 1);
  }
  const unit = text.charCodeAt(end);
  return unit >= 0xdc00 && unit <= 0xdfff ? end - 1 : end;
}
