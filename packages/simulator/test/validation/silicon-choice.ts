import { predictRow, type SiliconRow } from './silicon-rows.js';

/** Times between tokens that a choice has to keep, seconds. */
const bounds = [0.01, 0.02, 0.04, 0.08] as const;
/** With fewer measured ways to keep a bound, there is little to choose. */
const fewestCandidates = 3;

/** How good the configurations are that a rule chooses, over all questions. */
export interface ChoiceErrors {
  /** Questions: a system, engine, precision, lengths and a bound on the time between tokens. */
  readonly questions: number;
  readonly candidates: number;
  /** Share of choices whose measured time between tokens keeps the bound. */
  readonly kept: number;
  /** Mean of what choices deliver of the output per GPU of the best measured one that keeps the bound; one that breaks it by more than a tenth delivers nothing. */
  readonly meanShare: number;
  /** Share of choices that deliver at least 90 %. */
  readonly nearBest: number;
}

/** Answers of three rules to the same questions. `fitted` has not seen the configurations that it chooses among. */
export interface Choices {
  readonly costModel: ChoiceErrors;
  readonly fitted: ChoiceErrors;
  /** Mean of all candidates whose measured time keeps the bound. */
  readonly random: ChoiceErrors;
}

interface Candidate {
  readonly tpotSeconds: number;
  readonly outputPerGpu: number;
  readonly measuredTpotSeconds: number;
  readonly measuredOutputPerGpu: number;
}

const value = (row: SiliconRow, name: string): number => row[name] as number;

/** Output tokens a second and GPU in a closed loop, by Little's law; measured rates of the rows are computed likewise. */
function outputPerGpu(row: SiliconRow, ttftSeconds: number, tpotSeconds: number): number {
  const osl = value(row, 'osl');
  return (value(row, 'concurrency') * osl) / (ttftSeconds + tpotSeconds * (osl - 1)) / value(row, 'gpus');
}

/**
 * Lets models choose among measured configurations and loads as `plan` chooses among layouts and batches: of those whose predicted time between tokens
 * keeps a bound, the one with the highest predicted output per GPU. Only rows that name all their GPUs take part.
 *
 * @param fit - predicted seconds of each row, by fits that have not seen its configuration.
 * @param mode - one pool for prefill and decode (`agg`) or two (`disagg`); default either.
 */
export function siliconChoices(
  rows: readonly SiliconRow[],
  fit: { readonly tpot: ArrayLike<number>; readonly ttft: ArrayLike<number> },
  mode?: 'agg' | 'disagg',
): Choices {
  const groups = new Map<string, { plain: Candidate; fitted: Candidate }[]>();
  rows.forEach((row, i) => {
    if (typeof row['gpus'] !== 'number' || (mode !== undefined && row['mode'] !== mode)) return;
    const key = ['system', 'backend', 'precision', 'isl', 'osl'].map((name) => row[name]).join(' ');
    const measuredTpotSeconds = value(row, 'tpot_ms') / 1e3;
    const measuredOutputPerGpu = outputPerGpu(row, value(row, 'ttft_ms') / 1e3, measuredTpotSeconds);
    const measured = { measuredTpotSeconds, measuredOutputPerGpu };
    const { tpotSeconds, ttftSeconds } = predictRow(row);
    const plain = { tpotSeconds, outputPerGpu: outputPerGpu(row, ttftSeconds, tpotSeconds), ...measured };
    const fitted = {
      tpotSeconds: fit.tpot[i]!,
      outputPerGpu: outputPerGpu(row, fit.ttft[i]!, fit.tpot[i]!),
      ...measured,
    };
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [{ plain, fitted }]);
    else group.push({ plain, fitted });
  });
  const questions = [...groups.values()].flatMap((group) =>
    bounds
      .filter(
        (bound) => group.filter(({ plain }) => plain.measuredTpotSeconds <= bound).length >= fewestCandidates,
      )
      .map((bound) => ({
        bound,
        plain: group.map(({ plain }) => plain),
        fitted: group.map(({ fitted }) => fitted),
      })),
  );
  const answers = (name: 'plain' | 'fitted'): ChoiceErrors =>
    errors(
      questions.map((question) => ({
        ...question,
        candidates: question[name],
        choices: choose(question[name], question.bound),
      })),
    );
  return {
    costModel: answers('plain'),
    fitted: answers('fitted'),
    random: errors(
      questions.map(({ bound, plain }) => ({
        bound,
        candidates: plain,
        choices: plain.filter(({ measuredTpotSeconds }) => measuredTpotSeconds <= bound),
      })),
    ),
  };
}

/** Rows that differ in software alone look the same to the cost model: all of them are chosen, and the mean of their outcomes counts. */
function choose(candidates: readonly Candidate[], bound: number): Candidate[] {
  const inTime = candidates.filter(({ tpotSeconds }) => tpotSeconds <= bound);
  if (inTime.length > 0) {
    const most = Math.max(...inTime.map(({ outputPerGpu }) => outputPerGpu));
    return inTime.filter(({ outputPerGpu }) => outputPerGpu === most);
  }
  const least = Math.min(...candidates.map(({ tpotSeconds }) => tpotSeconds));
  return candidates.filter(({ tpotSeconds }) => tpotSeconds === least);
}

function errors(
  questions: readonly { bound: number; candidates: readonly Candidate[]; choices: readonly Candidate[] }[],
): ChoiceErrors {
  const outcomes = questions.flatMap(({ bound, candidates, choices }) => {
    const best = Math.max(
      ...candidates
        .filter(({ measuredTpotSeconds }) => measuredTpotSeconds <= bound)
        .map(({ measuredOutputPerGpu }) => measuredOutputPerGpu),
    );
    return choices.map((choice) => {
      const over = choice.measuredTpotSeconds / bound;
      const share = over > 1.1 ? 0 : Math.min(1, choice.measuredOutputPerGpu / best);
      return { over, share, weight: 1 / choices.length };
    });
  });
  const weigh = (of: (outcome: (typeof outcomes)[number]) => number): number =>
    outcomes.reduce((sum, outcome) => sum + outcome.weight * of(outcome), 0) / questions.length;
  return {
    questions: questions.length,
    candidates: questions.reduce((sum, { candidates }) => sum + candidates.length, 0) / questions.length,
    kept: weigh(({ over }) => (over <= 1 ? 1 : 0)),
    meanShare: weigh(({ share }) => share),
    nearBest: weigh(({ share }) => (share >= 0.9 ? 1 : 0)),
  };
}
