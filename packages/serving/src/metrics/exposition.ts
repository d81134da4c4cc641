import type { HistogramSnapshot } from '../backend.js';

/** Labels of a sample. */
export type Labels = Readonly<Record<string, string | number>>;

/** Writes metrics in the Prometheus text format, exposition format 0.0.4. Samples of a family follow its head. */
export class ExpositionWriter {
  readonly #lines: string[] = [];

  /** Begins a family of samples. */
  family(name: string, type: 'counter' | 'gauge' | 'histogram', help: string): this {
    this.#lines.push(`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`);
    return this;
  }

  /** One sample of the family. */
  sample(name: string, labels: Labels, value: number): this {
    this.#lines.push(`${name}${labelText(labels)} ${numberText(value)}`);
    return this;
  }

  /** A family of one sample. */
  single(name: string, type: 'counter' | 'gauge', help: string, labels: Labels, value: number): this {
    return this.family(name, type, help).sample(name, labels, value);
  }

  /** A family of the samples that have a value; none, if none has. */
  optional(
    name: string,
    type: 'counter' | 'gauge',
    help: string,
    samples: readonly (readonly [labels: Labels, value: number | undefined])[],
  ): this {
    const known = samples.filter(([, value]) => value !== undefined);
    if (known.length === 0) return this;
    this.family(name, type, help);
    for (const [labels, value] of known) this.sample(name, labels, value ?? 0);
    return this;
  }

  /** The samples of a histogram that somebody else counted. */
  histogram(name: string, labels: Labels, snapshot: HistogramSnapshot): this {
    snapshot.bounds.forEach((bound, index) => {
      this.sample(`${name}_bucket`, { ...labels, le: numberText(bound) }, snapshot.counts[index] ?? 0);
    });
    this.sample(`${name}_bucket`, { ...labels, le: '+Inf' }, snapshot.count);
    this.sample(`${name}_sum`, labels, snapshot.sum);
    return this.sample(`${name}_count`, labels, snapshot.count);
  }

  /** What was written, with the line end that the format wants. */
  text(): string {
    return this.#lines.length === 0 ? '' : `${this.#lines.join('\n')}\n`;
  }
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(String(value))}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function escapeHelp(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}
