/** Latin letters and the Cyrillic or Greek ones that most fonts draw alike. */
const PAIRS: readonly (readonly [latin: string, others: string])[] = [
  ['A', '\u0410\u0391'],
  ['B', '\u0412\u0392'],
  ['C', '\u0421'],
  ['E', '\u0415\u0395'],
  ['H', '\u041d\u0397'],
  ['I', '\u0406\u0399'],
  ['J', '\u0408'],
  ['K', '\u041a\u039a'],
  ['M', '\u041c\u039c'],
  ['N', '\u039d'],
  ['O', '\u041e\u039f'],
  ['P', '\u0420\u03a1'],
  ['S', '\u0405'],
  ['T', '\u0422\u03a4'],
  ['X', '\u0425\u03a7'],
  ['Y', '\u04ae\u03a5'],
  ['Z', '\u0396'],
  ['a', '\u0430'],
  ['c', '\u0441'],
  ['d', '\u0501'],
  ['e', '\u0435'],
  ['h', '\u04bb'],
  ['i', '\u0456'],
  ['j', '\u0458'],
  ['o', '\u043e\u03bf'],
  ['p', '\u0440'],
  ['q', '\u051b'],
  ['s', '\u0455'],
  ['v', '\u03bd'],
  ['w', '\u051d'],
  ['x', '\u0445'],
  ['y', '\u0443'],
];

/** Look-alikes of a Latin letter. */
export const lookAlikes: ReadonlyMap<string, readonly string[]> = new Map(
  PAIRS.map(([latin, others]) => [latin, [...others]]),
);

/** The Latin letter that a look-alike stands for. */
export const latinOf: ReadonlyMap<string, string> = new Map(
  PAIRS.flatMap(([latin, others]) => [...others].map((other) => [other, latin] as const)),
);
