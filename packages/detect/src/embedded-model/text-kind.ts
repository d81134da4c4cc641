import { functionWords } from './function-words.js';
import { isWord, proseTokens } from './plain-prose.js';

/** What a piece of text is made of; shares from 0 to 1. */
export interface TextKind {
  /** Letters that are Latin, of all letters. */
  readonly latinLetters: number;
  /** English function words, of all words. */
  readonly functionWords: number;
  /** Characters that code is full of and prose is not, of all that are not spaces. */
  readonly symbols: number;
  /** Lines that look like statements, of all that are not empty. */
  readonly statements: number;
}

const SYMBOLS = new Set('{}[]()<>=_;\\|&*#@+^~$%/`');
const STATEMENT =
  /[;{}]\s*$|^\s*(?:def|class|return|import|from|if|elif|else|for|while|try|except|with|function|const|let|var|public|private|static|void|int|func|fn|#include|@)\b[^.!?]*[:({;)\]}]\s*$|^\s*(?:[\w.[\]'"]+\s*(?:=|\+=|-=|:=)\s*\S)|^\s*[\w.]+\([^)]*\)\s*;?\s*$|^\s*(?:return|import|raise|print|pass|break|continue)\b[^.!?]*$|^\s*(?:\/\/|\/\*|\* )/;
const MAXIMUM_LINE = 300;

/**
 * Measures what a piece of text is made of.
 *
 * @param piece - as it was written, with its lines
 * @param plain - the same from `plainProse`
 */
export function measureKind(piece: string, plain: string): TextKind {
  const words = proseTokens(plain).filter(isWord);
  const letters = plain.match(/\p{L}/gu)?.length ?? 0;
  const latin = plain.match(/\p{Script=Latin}/gu)?.length ?? 0;
  let characters = 0;
  let symbols = 0;
  for (const character of piece) {
    if (/\s/.test(character)) continue;
    characters++;
    if (SYMBOLS.has(character)) symbols++;
  }
  const lines = piece.split('\n').filter((line) => line.trim() !== '');
  const statements = lines.filter((line) => line.length <= MAXIMUM_LINE && STATEMENT.test(line)).length;
  return {
    latinLetters: letters === 0 ? 0 : latin / letters,
    functionWords:
      words.length === 0 ? 0 : words.filter((word) => functionWords.has(word)).length / words.length,
    symbols: characters === 0 ? 0 : symbols / characters,
    statements: lines.length === 0 ? 0 : statements / lines.length,
  };
}
