import type { Command } from 'commander';
import { integer, list, number, oneOf } from './arguments.js';
import type { AuditCommandOptions } from './commands/detect/audit.js';
import type { CalibrateCommandOptions } from './commands/detect/calibrate.js';
import type { DetectCommandOptions } from './commands/detect/detect-files.js';
import type { EvaluateDetectorOptions } from './commands/detect/evaluate.js';
import type { TextInput } from './commands/fp8/number-input.js';
import type { Reporter } from './reporter.js';

/** What the commands need. */
export interface DetectCommandContext {
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  readonly stdin: TextInput | undefined;
}

const examples = {
  detect: `
Runs offline. A verdict is never proof: short texts, code, other languages and unusual kinds of text get "abstain", with the
reason. Source files (.js .ts .py ...) are judged function by function.

Examples:
  $ moestack detect essay.txt letter.md
  $ moestack detect essay.txt --spans --html report.html
  $ moestack detect src/*.ts --sarif detect.sarif
  $ cat essay.txt | moestack detect - --json`,
  evaluate: `
Each line of the file is a JSON object with "text" and "label" (human or ai); "pair", "domain", "generator" and "split" where
known. With a "score" in each line, these are evaluated in place of the embedded detector.

Examples:
  $ moestack detect evaluate texts.jsonl --match-length --html report.html
  $ moestack detect evaluate texts.jsonl --out record.json --license MIT`,
  audit: `
Finds stubs, licence headers, configuration, copies, pairs split over train and test, and length or layout that tell the sides
apart by themselves.

Examples:
  $ moestack detect audit texts.jsonl
  $ moestack detect audit code.jsonl --strict --out audit.json`,
  calibrate: `
Fits probabilities and thresholds to your own texts, for use with moestack detect --calibration.

Examples:
  $ moestack detect calibrate texts.jsonl --out calibration.json
  $ moestack detect essay.txt --calibration calibration.json`,
} as const;

/** Adds what `moestack detect` can do. */
export function addDetectCommands(detect: Command, { reporter, signal, stdin }: DetectCommandContext): void {
  detect
    .enablePositionalOptions()
    .argument('[files...]', 'texts, or source files; - is standard input')
    .option(
      '--alpha <rate>',
      'share of human texts that may be called AI: 0.01, 0.05 or 0.1',
      oneOf(['0.01', '0.05', '0.1']),
      '0.05',
    )
    .option('--min-words <n>', 'abstain below this many words', integer(0, 1_000_000))
    .option('--spans', 'find which parts are by a person and which by a model')
    .option('--calibration <file>', 'from moestack detect calibrate')
    .option('--html <file>', 'write a page with the texts coloured by window')
    .option('--sarif <file>', 'write the findings as SARIF 2.1.0')
    .option('--fail-on-ai', 'exit with 1 when a text is called AI')
    .option('--json', 'write one JSON object a line')
    .addHelpText('after', examples.detect)
    .action(async (files: string[], options: DetectCommandOptions) => {
      const { detectFiles } = await import('./commands/detect/detect-files.js');
      await detectFiles(files, options, reporter, signal, stdin);
    });
  const command = (name: 'evaluate' | 'audit' | 'calibrate', description: string): Command =>
    detect
      .command(name)
      .description(description)
      .argument('<data>', 'JSON lines')
      .option('--json', 'write one JSON object a line')
      .addHelpText('after', examples[name]);
  command('evaluate', 'ROC, calibration and strata of the detector on labelled texts')
    .option('--match-length', 'cut the texts of a pair to the same number of words')
    .option('--max-words <n>', 'cut texts to this many words', integer(1, 1_000_000))
    .option('--length-bins <list>', 'upper ends of the length strata, in words', list(integer(1, 1_000_000)))
    .option('--fpr <rate>', 'false-positive rate of the true-positive rates', number, 0.05)
    .option('--license <id>', 'licence of the data, for the record')
    .option('--split <name>', 'only lines of this split')
    .option('--out <file>', 'write a BenchmarkRecord')
    .option('--html <file>', 'write a page with plots')
    .action(async (data: string, options: EvaluateDetectorOptions) => {
      const { evaluateDetector } = await import('./commands/detect/evaluate.js');
      await evaluateDetector(data, options, reporter, signal);
    });
  command('audit', 'problems of a data set that make figures on it mean little')
    .option('--code', 'treat the texts as code')
    .option('--similarity <number>', 'Jaccard similarity of near duplicates (default: 0.7)', number)
    .option('--strict', 'exit with 1 when there are errors')
    .option('--out <file>', 'write the whole report as JSON')
    .action(async (data: string, options: AuditCommandOptions) => {
      const { audit } = await import('./commands/detect/audit.js');
      await audit(data, options, reporter);
    });
  command('calibrate', 'fit probabilities and thresholds to your own texts')
    .option('--min-words <n>', 'leave shorter texts out', integer(0, 1_000_000), 40)
    .option('--out <file>', 'write the calibration as JSON')
    .action(async (data: string, options: CalibrateCommandOptions) => {
      const { calibrate } = await import('./commands/detect/calibrate.js');
      await calibrate(data, options, reporter, signal);
    });
}
