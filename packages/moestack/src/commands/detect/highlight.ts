import type { TextSpan, Verdict } from '@moestack/detect';

const RESET = '\u001b[0m';
const MAXIMUM_CHARACTERS = 20_000;

/** A share as a percentage. */
export function percent(value: number): string {
  return `${Math.round(100 * value)}%`;
}

/** Lines of a text for a terminal, coloured from green (human) over grey to red (AI) by span or window. */
export function highlight(text: string, verdict: Verdict, spans: readonly TextSpan[] | undefined): string[] {
  const pieces =
    spans?.map(({ start, end, verdict: own }) => ({ start, end, probability: own.probability })) ??
    verdict.windows;
  let result = '';
  let at = 0;
  for (const { start, end, probability } of pieces) {
    if (start >= MAXIMUM_CHARACTERS) break;
    result += `${visible(text.slice(at, start))}${color(probability)}${visible(text.slice(start, end))}${RESET}`;
    at = end;
  }
  result += visible(text.slice(at, Math.max(at, MAXIMUM_CHARACTERS)));
  // Each line by itself, so that pagers keep the colour.
  return result.split('\n');
}

function color(probability: number): string {
  const hue =
    probability < 0.35
      ? 114
      : probability < 0.5
        ? 151
        : probability === 0.5
          ? 250
          : probability < 0.7
            ? 223
            : probability < 0.85
              ? 215
              : 203;
  return `\u001b[38;5;${hue}m`;
}

/** Without characters that would command the terminal, or turn the direction of writing. */
function visible(text: string): string {
  return text.replace(/(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}]/gu, '\ufffd');
}
