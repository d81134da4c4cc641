// Which functions of a git repository can be judged at all? `node main.js REPOSITORY`, see README.md.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { auditTexts, codeQuality, createEmbeddedDetector, evaluateStrata } from '@moestack/detect';
import { repositoryFunctions, writeCodePairs } from '@moestack/detect/pairs';
import { commentsOf } from './comments.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    before: { type: 'string' },
    limit: { type: 'string', default: '200' },
    endpoint: { type: 'string' },
    model: { type: 'string' },
    'api-key': { type: 'string' },
    pairs: { type: 'string', default: 'pairs.jsonl' },
  },
});
const [repository = '.'] = positionals;
const detector = createEmbeddedDetector();

try {
  const functions = [];
  const options = { maximumFunctions: Number(values.limit), ...(values.before && { before: values.before }) };
  for await (const found of repositoryFunctions(repository, options)) functions.push(found);
  if (functions.length === 0)
    throw new Error(`there is no JavaScript, TypeScript or Python function of 20 words in ${repository}`);
  judge(functions);
  if (values.endpoint && values.model) await study(functions);
} catch (error) {
  console.error(`error: ${error.message}${error.remedy ? `\n${error.remedy}` : ''}`);
  process.exitCode = 1;
}

/** Says of each function what the embedded detector can say, and of the whole how little that is. */
function judge(functions) {
  const counts = new Map();
  for (const { path, startLine, name, code, language } of functions) {
    const { label, probability, reasons } = detector.detect(code);
    const comments = commentsOf(code, language);
    const prose = detector.detect(comments);
    const notes = [reasons.map(({ code: reason }) => reason).join(', ')];
    if (prose.label !== 'abstain')
      notes.push(`its comments: ${prose.label}, ${Math.round(100 * prose.probability)}%`);
    if (codeQuality(code).isStub) notes.push('a stub');
    const verdict = label === 'abstain' ? label : `${label}, ${Math.round(100 * probability)}%`;
    console.log(`${path}:${startLine} ${name}: ${verdict} (${notes.join('; ')})`);
    for (const { code: reason } of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  console.log(
    `\n${functions.length} functions; ${[...counts].map(([reason, count]) => `${count} ${reason}`).join(', ')}`,
  );
  console.log(
    'The detector knows prose and abstains on code: detectors of code do little better than chance across projects.',
  );
}

/** Redoes, on this code, the study that shows it: human functions against versions of a model, by length. */
async function study(functions) {
  const progress = await writeCodePairs(functions, values.pairs, {
    baseUrl: values.endpoint,
    model: values.model,
    ...(values['api-key'] && { apiKey: values['api-key'] }),
  });
  console.log(
    `\n${progress.pairs} pairs in ${values.pairs}, ${progress.mismatched} left out for their length`,
  );
  if (progress.pairs === 0) return;
  const records = readFileSync(values.pairs, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const { severity, kind, count, message } of auditTexts(records, { isCode: true }).findings)
    console.log(`${severity}: ${kind} (${count}): ${message}`);
  const scored = records.map(({ text, isAi, words }) => ({
    score: detector.detect(text).score,
    isAi,
    length: words,
  }));
  const { all, byLength } = evaluateStrata(scored);
  for (const { name, humans, ais, auc } of [all, ...byLength]) {
    const interval = auc?.logitInterval
      ? ` (${auc.logitInterval.low.toFixed(2)} to ${auc.logitInterval.high.toFixed(2)})`
      : '';
    console.log(
      `${name}: ${humans} human, ${ais} AI, AUROC ${auc ? auc.auc.toFixed(2) + interval : 'unknown'}`,
    );
  }
}
