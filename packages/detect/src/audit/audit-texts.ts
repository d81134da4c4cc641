import { countWords } from '../embedded-model/text-windows.js';
import { DetectError } from '../errors.js';
import { rocAuc } from '../evaluation/roc.js';
import type { AuditFinding, AuditFindingKind, AuditRecord } from './audit-record.js';
import { codeQuality } from './code-quality.js';
import { nearDuplicates } from './near-duplicates.js';

/** Options of {@link auditTexts}. */
export interface AuditOptions {
  /** Jaccard similarity from which texts count as near duplicates; default 0.7. */
  readonly similarity?: number;
  /** Largest distance of an AUROC from 1/2 that length or layout alone may reach; default 0.1. */
  readonly confound?: number;
  /** Look for stubs, licence headers and configuration; default: when most texts look like code. */
  readonly isCode?: boolean;
}

/** Result of {@link auditTexts}. */
export interface AuditReport {
  readonly texts: number;
  readonly humans: number;
  readonly ais: number;
  /** AUROC of the number of words alone; undefined without texts of both kinds. */
  readonly lengthAuc: number | undefined;
  /** AUROC of single marks of layout, which tell collections apart rather than authors. */
  readonly artefacts: readonly { readonly name: string; readonly auc: number }[];
  /** Largest problems first. */
  readonly findings: readonly AuditFinding[];
  /** Positions of texts to leave out: empty ones, stubs, configuration, later copies. Leaks and confounds need a decision. */
  readonly drop: readonly number[];
}

const MAXIMUM_TEXTS = 1_000_000;
const MAXIMUM_IDS = 100;
const LICENCE_SHARE = 0.2;

const ARTEFACTS: readonly (readonly [name: string, of: (text: string) => number])[] = [
  ['line breaks', (text) => rate(text, /\n/g)],
  ['blank lines', (text) => rate(text, /\n\s*\n/g)],
  ['curly quotes and dashes', (text) => rate(text, /[‘’“”–—]/g)],
  ['spaces before punctuation', (text) => rate(text, / [,.;:!?]/g)],
  ['double spaces', (text) => rate(text, / {2}/g)],
  ['Markdown', (text) => rate(text, /^(?:#{1,6} |[-*] |\d+\. |```)|\*\*/gm)],
  ['characters beyond ASCII', (text) => rate(text, /[^\0-\x7f]/g)],
  ['white space at the end', (text) => (/\s$/.test(text) ? 1 : 0)],
  ['ends without punctuation', (text) => (/[.!?"'”’)]\s*$/.test(text.slice(-200)) ? 0 : 1)],
];

/** Looks for what makes figures on a data set of human and AI texts better, or worse, than a detector is. */
export function auditTexts(records: readonly AuditRecord[], options: AuditOptions = {}): AuditReport {
  check(records);
  const { confound = 0.1 } = options;
  const ids = records.map(({ id }, i) => id ?? String(i));
  const findings: AuditFinding[] = [];
  const drop = new Set<number>();
  const report = (
    kind: AuditFindingKind,
    severity: AuditFinding['severity'],
    message: string,
    concerned: readonly number[],
    value?: number,
  ): void => {
    if (concerned.length === 0) return;
    const unique = [...new Set(concerned)];
    findings.push({
      ...{ kind, severity, message, count: unique.length },
      ids: unique.slice(0, MAXIMUM_IDS).map((i) => ids[i]!),
      ...(value !== undefined && { value }),
    });
  };
  const where = (matches: (record: AuditRecord, index: number) => boolean): number[] =>
    records.flatMap((record, i) => (matches(record, i) ? [i] : []));

  const empty = where(({ text }) => text.trim() === '');
  report('empty', 'error', 'texts without a word', empty);
  for (const i of empty) drop.add(i);

  const isCode = options.isCode ?? where(({ text }) => looksLikeCode(text)).length > records.length / 2;
  if (isCode) {
    const quality = records.map(({ text }) => codeQuality(text));
    const stubs = where((_, i) => quality[i]!.isStub);
    report('stub', 'error', 'signatures and placeholders in place of code', stubs);
    const configs = where((_, i) => quality[i]!.isConfig);
    report('config-only', 'error', 'settings without logic', configs);
    const licences = where((_, i) => quality[i]!.licenceShare > LICENCE_SHARE);
    report(
      'licence-header',
      'error',
      `over ${LICENCE_SHARE * 100} % of the text is a licence notice: cut it off`,
      licences,
    );
    for (const i of [...stubs, ...configs]) drop.add(i);
  }

  findDuplicates(records, options, report, drop);
  findLeaks(records, report);

  const humans = where(({ isAi }) => !isAi);
  const ais = where(({ isAi }) => isAi);
  const all = where(() => true);
  if (Math.min(humans.length, ais.length) < 0.2 * records.length)
    report('unbalanced', 'warning', `${humans.length} human and ${ais.length} AI texts`, all);
  let lengthAuc: number | undefined;
  const artefacts: { name: string; auc: number }[] = [];
  if (humans.length > 0 && ais.length > 0) {
    const auc = (of: (text: string) => number): number =>
      rocAuc(
        humans.map((i) => of(records[i]!.text)),
        ais.map((i) => of(records[i]!.text)),
      );
    lengthAuc = auc(countWords);
    if (Math.abs(lengthAuc - 0.5) > confound)
      report(
        'length-confound',
        'error',
        `the number of words alone has an AUROC of ${lengthAuc.toFixed(3)}: cut the texts of a pair to the same length`,
        all,
        lengthAuc,
      );
    for (const [name, of] of ARTEFACTS) {
      const value = auc(of);
      artefacts.push({ name, auc: value });
      if (Math.abs(value - 0.5) > confound)
        report(
          'formatting-artefact',
          'warning',
          `${name} alone have an AUROC of ${value.toFixed(3)}: flatten layout before comparing detectors that see it`,
          all,
          value,
        );
    }
  }
  findings.sort(
    (a, b) => Number(b.severity === 'error') - Number(a.severity === 'error') || b.count - a.count,
  );
  return {
    ...{ texts: records.length, humans: humans.length, ais: ais.length, lengthAuc, artefacts, findings },
    drop: [...drop].sort((a, b) => a - b),
  };
}

type Report = (
  kind: AuditFindingKind,
  severity: AuditFinding['severity'],
  message: string,
  concerned: readonly number[],
) => void;

function findDuplicates(
  records: readonly AuditRecord[],
  options: AuditOptions,
  report: Report,
  drop: Set<number>,
): void {
  const first = new Map<string, number>();
  const copies: number[] = [];
  const contradictions: number[] = [];
  records.forEach(({ text, isAi }, i) => {
    const key = text.replace(/\s+/g, ' ').trim();
    if (key === '') return;
    const known = first.get(key);
    if (known === undefined) {
      first.set(key, i);
      return;
    }
    if (records[known]!.isAi === isAi) copies.push(i);
    else contradictions.push(known, i);
    drop.add(i);
  });
  report('duplicate', 'error', 'copies of earlier texts', copies);
  report('contradiction', 'error', 'the same text as human and as AI', contradictions);

  const originals = [...first.values()];
  const pairs = nearDuplicates(
    originals.map((i) => records[i]!.text),
    options.similarity === undefined ? {} : { similarity: options.similarity },
  ).map(({ first: a, second: b }) => [originals[a]!, originals[b]!] as const);
  report(
    'near-duplicate',
    'warning',
    'texts that share most of their word sequences with an earlier one of the same side',
    pairs.filter(([a, b]) => records[a]!.isAi === records[b]!.isAi).map(([, b]) => b),
  );
  report(
    'contradiction',
    'warning',
    'AI texts that repeat most of a human one',
    pairs
      .filter(([a, b]) => records[a]!.isAi !== records[b]!.isAi)
      .map(([a, b]) => (records[a]!.isAi ? a : b)),
  );
  const across = pairs.filter(([a, b]) => isAcross(records[a]!, records[b]!));
  const exact = records.flatMap((record, i) => {
    const known = first.get(record.text.replace(/\s+/g, ' ').trim());
    return known !== undefined && isAcross(record, records[known]!) ? [i] : [];
  });
  report('text-leakage', 'error', 'texts that are also, or nearly, in another split', [
    ...exact,
    ...across.flat(),
  ]);
}

function isAcross(a: AuditRecord, b: AuditRecord): boolean {
  return a.split !== undefined && b.split !== undefined && a.split !== b.split;
}

/** Texts of one pair in several splits: a detector has seen the twin of what it is tested on. */
function findLeaks(records: readonly AuditRecord[], report: Report): void {
  const splits = new Map<string, Set<string>>();
  for (const { pair, split } of records) {
    if (pair === undefined || split === undefined) continue;
    splits.set(pair, (splits.get(pair) ?? new Set()).add(split));
  }
  report(
    'pair-leakage',
    'error',
    'texts whose pair is in another split',
    records.flatMap(({ pair }, i) => (pair !== undefined && (splits.get(pair)?.size ?? 0) > 1 ? [i] : [])),
  );
}

function looksLikeCode(text: string): boolean {
  const start = text.slice(0, 5_000);
  return rate(start, /[{}()[\]=;<>_]/g) > 0.04;
}

function rate(text: string, pattern: RegExp): number {
  return (text.match(pattern)?.length ?? 0) / Math.max(1, text.length);
}

function check(records: readonly AuditRecord[]): void {
  if (records.length === 0 || records.length > MAXIMUM_TEXTS)
    throw new DetectError({
      code: records.length === 0 ? 'detect/too-short' : 'detect/too-large',
      message: `expected 1 to ${MAXIMUM_TEXTS} texts, got ${records.length}`,
      value: records.length,
      remedy: 'audit a data set with texts, in parts where it is larger',
    });
  records.forEach(({ text, isAi }, i) => {
    if (typeof text === 'string' && typeof isAi === 'boolean') return;
    throw new DetectError({
      code: 'detect/bad-config',
      message: `expected a string text and a boolean isAi in record ${i}, got ${typeof text} and ${typeof isAi}`,
      value: i,
      remedy: 'convert labels first',
    });
  });
}
