import { ServingError } from '../errors.js';

/** What a guardrail makes of a text. */
export interface GuardrailOutcome {
  readonly action: 'none' | 'annotated' | 'redacted' | 'blocked';
  /** The text to go on with: as it was, masked, or the message for blocked ones. */
  readonly text: string;
}

/** Checks prompts and answers; `createGuardrail` of `@moestack/detect` makes one. */
export interface GatewayGuardrail {
  /** Whether no text can be changed by it: then streams are not held back. */
  readonly onlyAnnotates: boolean;
  /** Judges a prompt (`INPUT`) or an answer (`OUTPUT`). */
  check(text: string, source: 'INPUT' | 'OUTPUT'): GuardrailOutcome | Promise<GuardrailOutcome>;
}

/** Longest answer that is held back until it is whole and checked. */
export const maxHeldCharacters = 4 * 1024 * 1024;

/** 400: the guardrail withholds the prompt. */
export function blockedInput(message: string): ServingError {
  return new ServingError({
    code: 'serving/blocked-input',
    openAiCode: 'content_filter',
    message,
    remedy: 'change the text',
    status: 400,
  });
}

/** A stream whose text is too long to be checked as a whole. */
export function tooLongToCheck(): ServingError {
  return new ServingError({
    code: 'serving/answer-too-long',
    message: `the answer is longer than the ${maxHeldCharacters} characters that the guardrail checks`,
    remedy: 'ask for fewer tokens',
  });
}
