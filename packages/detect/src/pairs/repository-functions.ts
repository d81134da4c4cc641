import { execFile } from 'node:child_process';
import { type CodeLanguage, languageOf, splitFunctions } from '../audit/split-functions.js';
import { countWords } from '../embedded-model/text-windows.js';
import { DetectError } from '../errors.js';
import { Deadline } from '../language-model/deadline.js';
import type { ScoreOptions } from '../language-model/language-model.js';
import { needInteger } from '../scores/checks.js';

/** A function of a git repository. */
export interface RepositoryFunction {
  /** Commit, path and first line: the same for the same function of the same commit. */
  readonly id: string;
  readonly commit: string;
  readonly path: string;
  readonly name: string;
  readonly language: CodeLanguage;
  readonly code: string;
  readonly words: number;
  readonly startLine: number;
  readonly endLine: number;
}

/** Options of {@link repositoryFunctions}. */
export interface RepositoryOptions extends ScoreOptions {
  /** Take the last commit before this date, such as `2021-06-01`; default: HEAD. Code from before assistants is human for certain. */
  readonly before?: string;
  /** Only files below this folder. */
  readonly folder?: string;
  /** Shorter functions are left out; default 20 words. */
  readonly minimumWords?: number;
  /** Longer ones too; default 2,000 words. */
  readonly maximumWords?: number;
  /** Stop after this many functions; default 10,000. */
  readonly maximumFunctions?: number;
}

const MAXIMUM_FILE_BYTES = 1_000_000;
const MAXIMUM_LIST_BYTES = 256 * 2 ** 20;

/**
 * Reads the functions of a git repository, without touching its work tree.
 *
 * @throws DetectError `detect/bad-config` for a folder that is no repository or has no commit before the date
 */
export async function* repositoryFunctions(
  repository: string,
  options: RepositoryOptions = {},
): AsyncGenerator<RepositoryFunction> {
  const { minimumWords = 20, maximumWords = 2_000, maximumFunctions = 10_000 } = options;
  needInteger('minimumWords', minimumWords, 1);
  needInteger('maximumWords', maximumWords, minimumWords);
  needInteger('maximumFunctions', maximumFunctions, 1);
  const deadline = new Deadline(`functions of ${repository}`, options);
  const run = (args: readonly string[]): Promise<string> => git(repository, args, deadline);
  const commit =
    options.before === undefined
      ? (await run(['rev-parse', '--verify', 'HEAD^{commit}'])).trim()
      : (await run(['rev-list', '-1', `--before=${options.before}`, 'HEAD'])).trim();
  if (commit === '')
    throw badRepository(repository, `no commit before ${options.before}`, 'choose a later date');
  const below = options.folder === undefined ? [] : ['--', options.folder];
  const list = await run(['ls-tree', '-r', '-z', '-l', '--full-tree', commit, ...below]);
  let found = 0;
  for (const entry of list.split('\0')) {
    const match = /^100\d+ blob ([0-9a-f]+) +(\d+)\t([\s\S]+)$/.exec(entry);
    if (match === null || Number(match[2]) > MAXIMUM_FILE_BYTES) continue;
    const path = match[3]!;
    const language = languageOf(path);
    if (language === undefined) continue;
    const source = await run(['cat-file', 'blob', match[1]!]);
    for (const { name, start, end, startLine, endLine } of splitFunctions(source, language)) {
      const code = source.slice(start, end);
      const words = countWords(code);
      if (words < minimumWords || words > maximumWords) continue;
      const id = `${commit.slice(0, 12)}:${path}:${startLine}`;
      yield { id, commit, path, name, language, code, words, startLine, endLine };
      if (++found === maximumFunctions) return;
    }
  }
}

function git(repository: string, args: readonly string[], deadline: Deadline): Promise<string> {
  deadline.check();
  return new Promise((resolve, reject) => {
    const child = execFile(
      'git',
      ['-C', repository, ...args],
      { signal: deadline.signal, maxBuffer: MAXIMUM_LIST_BYTES, encoding: 'utf8' },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        try {
          deadline.check();
          const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
          reject(
            missing
              ? badRepository(repository, 'git is not installed', 'install git')
              : badRepository(
                  repository,
                  stderr.trim().slice(0, 300),
                  'name a folder of a git repository with commits',
                ),
          );
        } catch (reason) {
          reject(reason);
        }
      },
    );
    child.stdin?.end();
  });
}

function badRepository(repository: string, problem: string, remedy: string): DetectError {
  return new DetectError({
    code: 'detect/bad-config',
    message: `expected a git repository in ${repository}: ${problem}`,
    value: repository,
    remedy,
  });
}
