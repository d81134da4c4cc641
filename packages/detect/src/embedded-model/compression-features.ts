const KEY = 4;
/** Earlier places that a phrase is compared with: enough for prose, and a bound for texts made to be slow. */
const CANDIDATES = 16;
const LONGEST = 256;

/**
 * How repetitive a text is: a greedy Lempel-Ziv parse, and entropies of letters, letter sequences, words and word pairs.
 *
 * @param lower - lower-case text
 * @param tokens - its words and marks
 */
export function compressionFeatures(lower: string, tokens: readonly string[]): number[] {
  const n = lower.length || 1;
  const { literals, phrases } = greedyParse(lower);
  const one = entropy(sequences(lower, 1));
  const two = entropy(sequences(lower, 2));
  const three = entropy(sequences(lower, 3));
  const pairs = tokens.slice(1).map((token, index) => `${tokens[index]} ${token}`);
  return [
    (literals + 2 * phrases) / n,
    literals / n,
    (10 * phrases) / n,
    one,
    two - one,
    (5 * (three - two)) / Math.log(Math.max(n, 2)),
    entropy(tokens) / Math.log(tokens.length + 2),
    entropy(pairs) / Math.log(pairs.length + 2),
  ];
}

function greedyParse(text: string): { literals: number; phrases: number } {
  const places = new Map<string, number[]>();
  let literals = 0;
  let phrases = 0;
  let at = 0;
  while (at < text.length) {
    let best = 0;
    const earlier = places.get(text.slice(at, at + KEY));
    if (earlier !== undefined) {
      for (let i = Math.max(0, earlier.length - CANDIDATES); i < earlier.length; i++) {
        const from = earlier[i]!;
        let length = 0;
        while (
          length < LONGEST &&
          at + length < text.length &&
          text.charCodeAt(from + length) === text.charCodeAt(at + length)
        )
          length++;
        if (length > best) best = length;
      }
    }
    const isPhrase = best >= KEY;
    if (isPhrase) phrases++;
    else literals++;
    const end = at + (isPhrase ? best : 1);
    for (; at < end; at++) {
      const key = text.slice(at, at + KEY);
      const list = places.get(key);
      if (list === undefined) places.set(key, [at]);
      else list.push(at);
    }
  }
  return { literals, phrases };
}

function sequences(text: string, length: number): string[] {
  const found: string[] = [];
  for (let i = 0; i + length <= text.length; i++) found.push(text.slice(i, i + length));
  return found;
}

/** Entropy of the observed frequencies, in nats. */
function entropy(items: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  let sum = 0;
  for (const count of counts.values()) sum -= (count / items.length) * Math.log(count / items.length);
  return sum;
}
