import { binFor, calibrate, type ProseCalibration } from '../src/embedded-model/calibration.js';
import { calibrationError, conformalThreshold, delong, rocAuc, tprAtFpr } from '../src/evaluation/index.js';
import { CUTS, type OutOfFold } from './out-of-fold.js';

/** Tables for the model card, in Markdown. */
export function figures(
  rows: readonly OutOfFold[],
  unquantised: readonly OutOfFold[],
  calibration: ProseCalibration,
  files: readonly [string, string][],
): string {
  const lines: string[] = [];
  const whole = rows.filter(({ cut }) => cut === 0);
  const table = (title: string, own: readonly OutOfFold[]): void => {
    const { human, ai } = split(own);
    const { logitInterval } = delong(human, ai);
    const words = own.map((row) => wordLength(row.text.text));
    const length = rocAuc(
      own.flatMap((row, i) => (row.text.isAi ? [] : [words[i]!])),
      own.flatMap((row, i) => (row.text.isAi ? [words[i]!] : [])),
    );
    lines.push(
      `| ${title} | ${ai.length} | ${rocAuc(human, ai).toFixed(3)} | ${logitInterval?.low.toFixed(3)} to ${logitInterval?.high.toFixed(3)} | ${tprAtFpr(human, ai, 0.05).step.toFixed(3)} | ${length.toFixed(3)} |`,
    );
  };
  lines.push(
    '| domain / generator | pairs | AUROC | 95 % interval | TPR at 5 % FPR | AUROC of word length |',
    '|---|---|---|---|---|---|',
  );
  for (const cell of new Set(whole.map(({ text }) => text.cell)))
    table(
      cell,
      whole.filter(({ text }) => text.cell === cell),
    );
  table(
    'chat models, pooled',
    whole.filter(({ text }) => !text.isContinuation && text.mayFit),
  );
  table(
    'all of the fitting data, pooled',
    whole.filter(({ text }) => text.mayFit),
  );
  table('all, with evaluation only, pooled', whole);

  lines.push(
    '',
    '| words | pairs | AUROC, chat models | TPR at 5 % FPR | AUROC, all |',
    '|---|---|---|---|---|',
  );
  for (const cut of [...CUTS, 0]) {
    const own = rows.filter((row) => row.cut === cut);
    const chat = split(own.filter(({ text }) => !text.isContinuation));
    const all = split(own);
    lines.push(
      `| ${cut || 'all (up to 150)'} | ${all.ai.length} | ${rocAuc(chat.human, chat.ai).toFixed(3)} | ${tprAtFpr(chat.human, chat.ai, 0.05).step.toFixed(3)} | ${rocAuc(all.human, all.ai).toFixed(3)} |`,
    );
  }

  const float = split(unquantised.filter(({ cut }) => cut === 0));
  const packed = split(whole);
  lines.push(
    '',
    `AUROC of all texts with weights of 64 bits ${rocAuc(float.human, float.ai).toFixed(4)}, of 8 bits ${rocAuc(packed.human, packed.ai).toFixed(4)}.`,
  );
  for (const [name, own] of [
    ['fitting data', whole.filter(({ text }) => text.mayFit)],
    ['evaluation only', whole.filter(({ text }) => !text.mayFit)],
    ['fitting data, all lengths', rows.filter(({ text }) => text.mayFit)],
  ] as const) {
    const calibrated = own.map((row) => calibrate(row.score, row.words, calibration));
    const ece = calibrationError(
      calibrated.map(({ probability }) => probability),
      own.map(({ text }) => (text.isAi ? 1 : 0)),
    );
    const flagged = (['0.01', '0.05', '0.1'] as const).map((alpha) => {
      const rate = (isAi: boolean): string => {
        const of = own.flatMap((row, i) =>
          row.text.isAi === isAi
            ? [calibrated[i]!.logit > binFor(calibration.conformal, row.words).thresholds[alpha] ? 1 : 0]
            : [],
        );
        return (of.reduce((sum: number, one) => sum + one, 0) / of.length).toFixed(3);
      };
      return `alpha ${alpha}: FPR ${rate(false)}, TPR ${rate(true)}`;
    });
    lines.push(`${name}: ECE ${ece.ece.toFixed(3)}, Brier ${ece.brier.toFixed(3)}; ${flagged.join('; ')}`);
  }
  lines.push('', foldedConformal(rows, calibration), '', JSON.stringify({ ...calibration }), '');
  for (const [name, digest] of files) lines.push(`${name}: SHA-256 ${digest}`);
  return lines.join('\n');
}

/** False-positive rates of thresholds from four folds on the fifth: what new texts should see. */
function foldedConformal(rows: readonly OutOfFold[], calibration: ProseCalibration): string {
  const whole = rows.filter(({ cut, text }) => cut === 0 && text.mayFit);
  const logit = (row: OutOfFold): number => calibrate(row.score, row.words, calibration).logit;
  return [0.01, 0.05, 0.1]
    .map((alpha) => {
      let flaggedHumans = 0;
      let humans = 0;
      for (let fold = 0; fold < 5; fold++) {
        const known = whole.filter(({ text }) => !text.isAi && text.fold !== fold);
        const { threshold } = conformalThreshold(known.map(logit), alpha);
        for (const row of whole) {
          if (row.text.fold !== fold || row.text.isAi) continue;
          humans++;
          if (logit(row) > threshold) flaggedHumans++;
        }
      }
      return `cross-fitted, alpha ${alpha}: FPR ${(flaggedHumans / humans).toFixed(3)}`;
    })
    .join('; ');
}

function split(rows: readonly OutOfFold[]): { human: number[]; ai: number[] } {
  return {
    human: rows.filter(({ text }) => !text.isAi).map(({ score }) => score),
    ai: rows.filter(({ text }) => text.isAi).map(({ score }) => score),
  };
}

function wordLength(text: string): number {
  const words = text.match(/[A-Za-z']+/g) ?? [];
  return words.join('').length / Math.max(1, words.length);
}
