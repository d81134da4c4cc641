import { z } from 'zod';
import type { Verdict } from '../embedded-model/verdict.js';
import { DetectError } from '../errors.js';
import { type Guardrail, type GuardrailFinding, type GuardrailResult, isBlocked } from './guardrail.js';
import { type PiiType, piiTypes } from './pii.js';

const MAXIMUM_BLOCKS = 1_000;

const bodySchema = z.looseObject({
  source: z.enum(['INPUT', 'OUTPUT']),
  content: z
    .array(
      z
        .looseObject({
          text: z
            .looseObject({
              text: z.string(),
              qualifiers: z.array(z.enum(['grounding_source', 'query', 'guard_content'])).optional(),
            })
            .optional(),
          image: z.unknown().optional(),
        })
        .refine(
          ({ text, image }) => (text !== undefined) !== (image !== undefined),
          'expected exactly one of text and image',
        ),
    )
    .min(1)
    .max(MAXIMUM_BLOCKS),
  outputScope: z.enum(['INTERVENTIONS', 'FULL']).optional(),
});

/** Body of Amazon Bedrock's ApplyGuardrail. */
export interface ApplyGuardrailBody {
  readonly source: 'INPUT' | 'OUTPUT';
  readonly content: readonly {
    readonly text?:
      | {
          readonly text: string;
          readonly qualifiers?: readonly ('grounding_source' | 'query' | 'guard_content')[] | undefined;
        }
      | undefined;
    readonly image?: unknown;
  }[];
  /** `FULL`: list topics too that were looked for and not found. */
  readonly outputScope?: 'INTERVENTIONS' | 'FULL' | undefined;
}

/**
 * Checks a body.
 *
 * @throws DetectError `detect/bad-config` naming the field that is wrong; images are not supported
 */
export function parseApplyGuardrailBody(value: unknown): ApplyGuardrailBody {
  const parsed = bodySchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw badBody(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'it is not valid'}`);
  }
  if (parsed.data.content.some(({ image }) => image !== undefined))
    throw badBody('images cannot be assessed');
  return parsed.data;
}

function badBody(problem: string): DetectError {
  return new DetectError({
    code: 'detect/bad-config',
    message: `expected the body of an ApplyGuardrail request, got ${problem}`.slice(0, 500),
    value: problem.slice(0, 300),
    remedy: 'pass source and content as the API describes them',
  });
}

/** Units that Bedrock would bill, by policy; all of them are free here. */
export interface ApplyGuardrailUsage {
  readonly topicPolicyUnits: number;
  readonly contentPolicyUnits: number;
  readonly wordPolicyUnits: number;
  readonly sensitiveInformationPolicyUnits: number;
  readonly sensitiveInformationPolicyFreeUnits: number;
  readonly contextualGroundingPolicyUnits: number;
}

/** What one policy found, in Bedrock's shape. */
export interface ApplyGuardrailAssessment {
  topicPolicy?: { topics: { name: string; type: 'DENY'; action: 'BLOCKED' | 'NONE'; detected: boolean }[] };
  wordPolicy?: {
    customWords: { match: string; action: 'BLOCKED' | 'NONE'; detected: boolean }[];
    managedWordLists: never[];
  };
  sensitiveInformationPolicy?: {
    piiEntities: {
      match: string;
      type: PiiType;
      action: 'ANONYMIZED' | 'BLOCKED' | 'NONE';
      detected: boolean;
    }[];
    regexes: {
      name: string;
      match: string;
      regex: string;
      action: 'ANONYMIZED' | 'BLOCKED' | 'NONE';
      detected: boolean;
    }[];
  };
  invocationMetrics?: {
    usage: ApplyGuardrailUsage;
    guardrailCoverage: { textCharacters: { guarded: number; total: number } };
  };
}

/** Answer of Amazon Bedrock's ApplyGuardrail, with the detector's verdicts beside it. */
export interface ApplyGuardrailAnswer {
  readonly usage: ApplyGuardrailUsage;
  readonly action: 'NONE' | 'GUARDRAIL_INTERVENED';
  readonly actionReason: string;
  readonly outputs: { text: string }[];
  readonly assessments: ApplyGuardrailAssessment[];
  readonly guardrailCoverage: { textCharacters: { guarded: number; total: number } };
  /** Not in Bedrock's shape; its clients ignore it. */
  readonly moestack?: { readonly verdicts: readonly Verdict[] };
}

const TEXT_UNIT = 1_000;
const AI_TOPIC = 'AI_GENERATED_TEXT';

/** Runs a guardrail over the blocks of an ApplyGuardrail request. */
export function applyGuardrail(guardrail: Guardrail, body: ApplyGuardrailBody): ApplyGuardrailAnswer {
  const texts = body.content.flatMap(({ text }) => (text === undefined ? [] : [text]));
  const results = texts.map(
    ({ text, qualifiers = [] }): { text: string; result: GuardrailResult | undefined } => ({
      text,
      // Sources and queries are there for grounding, unless they are to be guarded too.
      result:
        qualifiers.length === 0 || qualifiers.includes('guard_content')
          ? guardrail.check(text, body.source)
          : undefined,
    }),
  );
  const guarded = results.flatMap(({ text, result }) => (result === undefined ? [] : [text.length]));
  const coverage = {
    textCharacters: {
      guarded: guarded.reduce((sum, length) => sum + length, 0),
      total: texts.reduce((sum, { text }) => sum + text.length, 0),
    },
  };
  const usage = usageOf(guardrail, coverage.textCharacters.guarded);
  const findings = results.flatMap(({ result }) => result?.findings ?? []);
  const blocked = results.find(({ result }) => result?.action === 'blocked')?.result;
  const intervened = blocked !== undefined || results.some(({ result }) => result?.action === 'redacted');
  const verdicts = results.flatMap(({ result }) => (result?.verdict === undefined ? [] : [result.verdict]));
  const assessment = assess(guardrail, findings, body.outputScope === 'FULL');
  const hasAssessment = Object.keys(assessment).length > 0;
  return {
    usage,
    action: intervened ? 'GUARDRAIL_INTERVENED' : 'NONE',
    actionReason:
      blocked !== undefined ? 'Guardrail blocked.' : intervened ? 'Guardrail masked.' : 'No action.',
    outputs: !intervened
      ? []
      : blocked !== undefined
        ? [{ text: blocked.text }]
        : results.map(({ text, result }) => ({ text: result?.text ?? text })),
    assessments: hasAssessment
      ? [{ ...assessment, invocationMetrics: { usage, guardrailCoverage: coverage } }]
      : [],
    guardrailCoverage: coverage,
    ...(verdicts.length > 0 && { moestack: { verdicts } }),
  };
}

function usageOf({ policy }: Guardrail, characters: number): ApplyGuardrailUsage {
  const units = Math.ceil(characters / TEXT_UNIT);
  const used = (condition: boolean): number => (condition ? units : 0);
  return {
    topicPolicyUnits: used((policy.topics?.length ?? 0) > 0 || policy.aiText !== undefined),
    contentPolicyUnits: 0,
    wordPolicyUnits: used((policy.words?.list.length ?? 0) > 0),
    sensitiveInformationPolicyUnits: used((policy.pii?.length ?? 0) > 0),
    sensitiveInformationPolicyFreeUnits: used((policy.regexes?.length ?? 0) > 0),
    contextualGroundingPolicyUnits: 0,
  };
}

/** @param full - also topics that were looked for and not found */
function assess(
  guardrail: Guardrail,
  findings: readonly GuardrailFinding[],
  full: boolean,
): ApplyGuardrailAssessment {
  const { policy } = guardrail;
  const assessment: ApplyGuardrailAssessment = {};
  const blockedOrNone = (finding: GuardrailFinding): 'BLOCKED' | 'NONE' =>
    isBlocked(finding) ? 'BLOCKED' : 'NONE';
  const action = (finding: GuardrailFinding): 'ANONYMIZED' | 'BLOCKED' | 'NONE' =>
    isBlocked(finding) ? 'BLOCKED' : finding.mode === 'redact' ? 'ANONYMIZED' : 'NONE';
  const of = (...policies: GuardrailFinding['policy'][]): GuardrailFinding[] =>
    findings.filter((finding) => policies.includes(finding.policy));

  const topics = new Map(
    of('topic', 'aiText').map((finding) => [
      finding.name,
      { name: finding.name, type: 'DENY' as const, action: blockedOrNone(finding), detected: true },
    ]),
  );
  if (full) {
    const names = [
      ...(policy.topics ?? []).map(({ name }) => name),
      ...(policy.aiText === undefined ? [] : [AI_TOPIC]),
    ];
    for (const name of names)
      if (!topics.has(name)) topics.set(name, { name, type: 'DENY', action: 'NONE', detected: false });
  }
  if (topics.size > 0) assessment.topicPolicy = { topics: [...topics.values()] };
  const words = of('word');
  if (words.length > 0)
    assessment.wordPolicy = {
      customWords: words.map((finding) => ({
        match: finding.match,
        action: blockedOrNone(finding),
        detected: true,
      })),
      managedWordLists: [],
    };
  const pii = of('pii');
  const regexes = of('regex');
  if (pii.length + regexes.length > 0)
    assessment.sensitiveInformationPolicy = {
      piiEntities: pii.flatMap((finding) => {
        const type = piiTypes.find((name) => name === finding.name);
        return type === undefined
          ? []
          : [{ match: finding.match, type, action: action(finding), detected: true }];
      }),
      regexes: regexes.map((finding) => ({
        ...{ name: finding.name, match: finding.match, action: action(finding), detected: true },
        regex: policy.regexes?.find(({ name }) => name === finding.name)?.pattern ?? '',
      })),
    };
  return assessment;
}
