/** A sample of the text format. */
export interface ParsedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A family of the text format. */
export interface ParsedFamily {
  readonly type: string;
  readonly help: string;
  readonly samples: ParsedSample[];
}

const name = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const label = /^[a-zA-Z_][a-zA-Z0-9_]*="((?:\\[\\"n]|[^\\"\n])*)"(,|$)/;

/**
 * Reads the Prometheus text format (0.0.4) and throws where it breaks a rule: heads before samples, one of each family,
 * no sample twice, counters that end in `_total`, histograms whole, growing and equal to their count.
 */
export function parseExposition(text: string): Map<string, ParsedFamily> {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, ParsedFamily>();
  const helps = new Map<string, string>();
  const seen = new Set<string>();
  let current: string | undefined;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    if (line.startsWith('# HELP ')) {
      const [, family = '', help = ''] = /^# HELP (\S+) (.*)$/s.exec(line) ?? [];
      if (helps.has(family)) throw new Error(`${family} has two HELP lines`);
      helps.set(family, help);
    } else if (line.startsWith('# TYPE ')) {
      const [, family = '', type = ''] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? [];
      if (!name.test(family)) throw new Error(`bad TYPE line: ${line}`);
      if (families.has(family)) throw new Error(`${family} has two TYPE lines`);
      if (type === 'counter' && !family.endsWith('_total'))
        throw new Error(`counter ${family} does not end in _total`);
      families.set(family, { type, help: helps.get(family) ?? '', samples: [] });
      current = family;
    } else if (!line.startsWith('#')) {
      const sample = parseSample(line);
      const family = current === undefined ? undefined : families.get(current);
      if (family === undefined) throw new Error(`a sample without family: ${line}`);
      const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      if (!suffixes.some((suffix) => sample.name === current + suffix)) {
        throw new Error(`${sample.name} stands among the samples of ${current}`);
      }
      const key = `${sample.name}${JSON.stringify(Object.entries(sample.labels).sort())}`;
      if (seen.has(key)) throw new Error(`twice: ${line}`);
      seen.add(key);
      if (family.type === 'counter' && !(sample.value >= 0)) throw new Error(`negative counter: ${line}`);
      family.samples.push(sample);
    }
  }
  for (const [family, { type, samples }] of families)
    if (type === 'histogram') checkHistogram(family, samples);
  return families;
}

function parseSample(line: string): ParsedSample {
  const [, metric = '', , labelText = '', valueText = ''] = /^([^\s{]+)(\{(.*)\})? (\S+)$/s.exec(line) ?? [];
  if (!name.test(metric)) throw new Error(`bad sample: ${line}`);
  const labels: Record<string, string> = {};
  let rest = labelText;
  while (rest !== '') {
    const match = label.exec(rest);
    if (match === null) throw new Error(`bad labels: ${line}`);
    const labelName = rest.slice(0, rest.indexOf('='));
    if (labelName in labels) throw new Error(`label twice: ${line}`);
    labels[labelName] = match[1]!.replace(/\\([\\"n])/g, (_, c: string) => (c === 'n' ? '\n' : c));
    rest = rest.slice(match[0].length);
  }
  const value = Number(valueText.replace(/^([+-]?)Inf$/, '$1Infinity'));
  if (Number.isNaN(value) && valueText !== 'NaN' && valueText !== 'Nan')
    throw new Error(`bad value: ${line}`);
  return { name: metric, labels, value };
}

function checkHistogram(family: string, samples: readonly ParsedSample[]): void {
  const groups = new Map<string, ParsedSample[]>();
  for (const sample of samples) {
    const { le: _, ...others } = sample.labels;
    const key = JSON.stringify(Object.entries(others).sort());
    groups.set(key, [...(groups.get(key) ?? []), sample]);
  }
  for (const [key, group] of groups) {
    const buckets = group.filter((sample) => sample.name.endsWith('_bucket'));
    const count = group.find((sample) => sample.name.endsWith('_count'))?.value;
    const bounds = buckets.map(({ labels }) => (labels['le'] === '+Inf' ? Infinity : Number(labels['le'])));
    if (bounds.at(-1) !== Infinity) throw new Error(`${family}${key} has no +Inf bucket`);
    if (bounds.some((bound, i) => i > 0 && !(bound > bounds[i - 1]!)))
      throw new Error(`${family}${key}: bounds`);
    if (buckets.some(({ value }, i) => i > 0 && value < buckets[i - 1]!.value))
      throw new Error(`${family}${key} falls`);
    if (buckets.at(-1)?.value !== count) throw new Error(`${family}${key}: +Inf bucket is not the count`);
    if (!group.some((sample) => sample.name.endsWith('_sum'))) throw new Error(`${family}${key} has no sum`);
  }
}
