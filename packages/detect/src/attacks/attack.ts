/** A way to disguise an AI text. */
export interface Attack {
  readonly name: string;
  /**
   * The disguised text.
   *
   * @param options.random - uniform numbers in [0, 1); same numbers, same text
   */
  apply(
    text: string,
    options: { readonly random: () => number; readonly signal?: AbortSignal },
  ): string | Promise<string>;
}

/** Replaces each match with probability `share`. */
export function replaceSome(
  text: string,
  pattern: RegExp,
  share: number,
  random: () => number,
  replacement: (match: string) => string,
): string {
  return text.replace(pattern, (match) => (random() < share ? replacement(match) : match));
}
