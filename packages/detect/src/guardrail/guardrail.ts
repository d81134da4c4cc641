import { createEmbeddedDetector, type EmbeddedDetector } from '../embedded-model/embedded-detector.js';
import type { Verdict } from '../embedded-model/verdict.js';
import { DetectError } from '../errors.js';
import { LinearPattern } from './linear-pattern.js';
import { findPii, type PiiType, piiTypes } from './pii.js';
import type { GuardrailMode, GuardrailPolicy } from './policy.js';

/** Where a text comes from. */
export type GuardrailSource = 'INPUT' | 'OUTPUT';

/** Something that a policy found in a text. */
export interface GuardrailFinding {
  readonly policy: 'aiText' | 'topic' | 'word' | 'pii' | 'regex';
  /** Name of the topic or regex, the word, or the kind of personal data. */
  readonly name: string;
  readonly mode: GuardrailMode;
  /** UTF-16 offsets; the whole text for `aiText`. */
  readonly start: number;
  readonly end: number;
  readonly match: string;
}

/** What a guardrail makes of a text. */
export interface GuardrailResult {
  readonly action: 'none' | 'annotated' | 'redacted' | 'blocked';
  /** The text to go on with: as it was, masked, or the message for blocked ones. */
  readonly text: string;
  readonly findings: readonly GuardrailFinding[];
  /** Of the detector, where the policy asks for it. */
  readonly verdict?: Verdict;
}

/** A policy, compiled. */
export interface Guardrail {
  readonly policy: GuardrailPolicy;
  /** Whether no text can be changed by it. */
  readonly onlyAnnotates: boolean;
  /** Judges a text, and masks or replaces it as the policy says. */
  check(text: string, source: GuardrailSource): GuardrailResult;
}

/** Options of {@link createGuardrail}. */
export interface GuardrailOptions {
  /** Overrides the mode of every part of the policy. */
  readonly mode?: GuardrailMode;
  /** Default: one that is shared. */
  readonly detector?: EmbeddedDetector;
}

const MAXIMUM_RULES = 1_000;
const MODES: readonly GuardrailMode[] = ['block', 'redact', 'annotate'];

let shared: EmbeddedDetector | undefined;

/**
 * Compiles a policy.
 *
 * @throws DetectError `detect/bad-config` naming the part that is wrong
 */
export function createGuardrail(policy: GuardrailPolicy, options: GuardrailOptions = {}): Guardrail {
  checkPolicy(policy);
  const used: GuardrailMode[] = [];
  const modeOf = (mode: GuardrailMode | undefined, fallback: GuardrailMode): GuardrailMode => {
    const chosen = options.mode ?? mode ?? fallback;
    used.push(chosen);
    if (MODES.includes(chosen)) return chosen;
    throw badPolicy('mode', String(chosen), `use one of ${MODES.join(', ')}`);
  };
  const finders: ((text: string) => GuardrailFinding[])[] = [];
  const addPatterns = (
    kind: 'topic' | 'word' | 'regex',
    name: string,
    patterns: readonly LinearPattern[],
    mode: GuardrailMode,
  ): void => {
    finders.push((text) =>
      patterns.flatMap((pattern) =>
        pattern
          .matches(text, { maximum: Infinity })
          .map(({ start, end }) => ({ policy: kind, name, mode, start, end, match: text.slice(start, end) })),
      ),
    );
  };
  for (const { name, patterns, mode } of policy.topics ?? [])
    addPatterns(
      'topic',
      name,
      patterns.map((pattern) => new LinearPattern(pattern, { ignoreCase: true })),
      modeOf(mode, 'block'),
    );
  for (const word of policy.words?.list ?? [])
    addPatterns('word', word, [wordPattern(word)], modeOf(policy.words?.mode, 'block'));
  for (const { type, mode } of policy.pii ?? []) {
    if (!piiTypes.includes(type))
      throw badPolicy('pii type', String(type), `use one of ${piiTypes.join(', ')}`);
    const chosen = modeOf(mode, 'redact');
    finders.push((text) =>
      findPii(text, type).map(({ start, end }) => ({
        ...{ policy: 'pii' as const, name: type as PiiType, mode: chosen, start, end },
        match: text.slice(start, end),
      })),
    );
  }
  for (const { name, pattern, mode } of policy.regexes ?? [])
    addPatterns('regex', name, [new LinearPattern(pattern)], modeOf(mode, 'redact'));
  const { aiText } = policy;
  const aiMode = aiText === undefined ? undefined : modeOf(aiText.mode, 'block');
  return {
    policy,
    onlyAnnotates: used.every((mode) => mode === 'annotate'),
    check: (text, source) => {
      const findings = finders.flatMap((find) => find(text));
      let verdict: Verdict | undefined;
      if (aiText !== undefined && aiMode !== undefined && (aiText.sources ?? [source]).includes(source)) {
        shared ??= createEmbeddedDetector();
        verdict = (options.detector ?? shared).detect(text, {
          alpha: aiText.alpha ?? 0.01,
          ...(aiText.minimumWords !== undefined && { minimumWords: aiText.minimumWords }),
        });
        if (verdict.label === 'ai')
          findings.push({
            policy: 'aiText',
            name: 'AI_GENERATED_TEXT',
            mode: aiMode,
            start: 0,
            end: text.length,
            match: '',
          });
      }
      return conclude(text, source, findings, verdict, policy);
    },
  };
}

function conclude(
  text: string,
  source: GuardrailSource,
  findings: readonly GuardrailFinding[],
  verdict: Verdict | undefined,
  policy: GuardrailPolicy,
): GuardrailResult {
  const common = { findings, ...(verdict !== undefined && { verdict }) };
  if (findings.some(isBlocked)) {
    const message =
      source === 'INPUT'
        ? (policy.blockedInputMessage ?? 'This request was blocked by a content policy.')
        : (policy.blockedOutputMessage ?? 'This answer was blocked by a content policy.');
    return { action: 'blocked', text: message, ...common };
  }
  const masked = findings.filter(({ mode }) => mode === 'redact');
  if (masked.length > 0) return { action: 'redacted', text: mask(text, masked), ...common };
  return { action: findings.length > 0 ? 'annotated' : 'none', text, ...common };
}

/** Whether a finding withholds the text: what cannot be masked is blocked. */
export function isBlocked({ mode, policy }: GuardrailFinding): boolean {
  return mode === 'block' || (mode === 'redact' && policy === 'aiText');
}

/** Replaces findings by their names in braces; of overlapping ones, the first and longest gives the name to all. */
function mask(text: string, findings: readonly GuardrailFinding[]): string {
  const ordered = [...findings].sort((a, b) => a.start - b.start || b.end - a.end);
  let result = '';
  let at = 0;
  for (const { start, end, name } of ordered) {
    if (end <= at) continue;
    if (start >= at) result += `${text.slice(at, start)}{${name}}`;
    at = end;
  }
  return result + text.slice(at);
}

function wordPattern(word: string): LinearPattern {
  const escaped = word
    .trim()
    .replace(/[^\p{L}\p{N}\s]/gu, (character) =>
      [...character].map((one) => (one.length === 1 ? `\\${one}` : one)).join(''),
    )
    .replace(/\s+/g, '\\s+');
  const edge = (character: string | undefined): string =>
    character !== undefined && /\w/.test(character) ? '\\b' : '';
  return new LinearPattern(edge(word.trim()[0]) + escaped + edge(word.trim().at(-1)), { ignoreCase: true });
}

function checkPolicy(policy: GuardrailPolicy): void {
  if (typeof policy?.name !== 'string' || policy.name === '')
    throw badPolicy('name', String(policy?.name), 'name the policy');
  const rules =
    (policy.topics ?? []).reduce((sum, { patterns }) => sum + patterns.length, 0) +
    (policy.words?.list.length ?? 0) +
    (policy.regexes?.length ?? 0);
  if (rules > MAXIMUM_RULES)
    throw badPolicy('rules', String(rules), `use at most ${MAXIMUM_RULES} patterns and words`);
}

function badPolicy(what: string, value: string, remedy: string): DetectError {
  return new DetectError({
    code: 'detect/bad-config',
    message: `expected a guardrail policy with a usable ${what}, got ${value}`,
    value,
    remedy,
  });
}
