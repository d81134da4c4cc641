const COMMENT = /^\s*(?:#(?!include|define)|\/\/|\/\*|\*(?!\*?\w)|--|<!--|""")/;
const STUB =
  /^\s*(?:pass|\.\.\.|raise NotImplementedError\b.*|throw new (?:Error|UnsupportedOperationException)\(.*(?:implement|todo|support).*\);?|(?:todo|unimplemented)!\(.*\);?|return(?: (?:None|null|undefined|0|false|true|""|''|\[\]|\{\}))?;?)\s*$/i;
const PLACEHOLDER =
  /(?:implementation (?:of|goes|here)|implement(?:ed)? (?:this|here|me|the (?:logic|function))|your code here|todo:? implement|add (?:your )?(?:code|logic) here|rest of (?:the )?(?:code|implementation)|not (?:yet )?implemented|omitted for brevity)/i;
const LICENCE =
  /\b(?:licensed under|permission is hereby granted|apache license|gnu (?:lesser |affero )?general public|redistribution and use in source|spdx-license-identifier|all rights reserved|mozilla public license|without warranties or conditions)\b/i;
const SIGNATURE =
  /^\s*(?:@\w|(?:async\s+)?def\s|class\s|(?:export\s+)?(?:default\s+)?(?:async\s+)?function\b|(?:public|private|protected|static|final|\s)*[\w<>[\], ]+\([^)]*\)\s*\{?\s*$|(?:export\s+)?(?:const|let|var)\s+\w+\s*=\s*(?:async\s*)?\(?[^=]*=>\s*\{?\s*$|import\s|from\s+\S+\s+import\s|[{}()\]]+[;,]?\s*$)/;
const SETTING =
  /^\s*(?:"[^"]*"\s*:|'[^']*'\s*:|[\w.-]+\s*[:=]\s*\S|\[[\w. "-]+\]|[{}[\]],?|- \S|<\/?\w[^>]*>|[\w.-]+:\s*)\s*/;
const STATEMENT = /\b(?:if|for|while|return|def|function|class|await|yield|switch|try|lambda)\b|=>|\w\(/;
const MAXIMUM_LINES = 5_000;
const MAXIMUM_LINE = 500;

/** What is wrong with a text as a sample of code. */
export interface CodeQuality {
  /** Little but signatures, comments and placeholders. */
  readonly isStub: boolean;
  /** Share of its characters that are a licence notice at its beginning. */
  readonly licenceShare: number;
  /** Settings without logic. */
  readonly isConfig: boolean;
}

/** Looks for what makes a code sample say nothing about who wrote it. */
export function codeQuality(text: string): CodeQuality {
  const lines = text.slice(0, 1_000_000).split('\n', MAXIMUM_LINES);
  const filled = lines.map((line) => line.slice(0, MAXIMUM_LINE)).filter((line) => line.trim() !== '');
  const licence = licenceLines(filled);
  let body = 0;
  let placeholders = 0;
  let signatures = 0;
  let settings = 0;
  let statements = 0;
  for (const line of filled) {
    const comment = COMMENT.test(line);
    if (PLACEHOLDER.test(line) || STUB.test(line)) placeholders++;
    else if (SIGNATURE.test(line)) signatures++;
    else if (!comment) body++;
    if (comment) continue;
    if (STATEMENT.test(line)) statements++;
    else if (SETTING.test(line)) settings++;
  }
  const characters = filled.reduce((sum, line) => sum + line.length, 0);
  const inLicence = filled.slice(0, licence).reduce((sum, line) => sum + line.length, 0);
  const rest = filled.length - licence;
  return {
    isStub: placeholders > 0 && signatures > 0 && body <= Math.max(1, placeholders),
    licenceShare: characters === 0 ? 0 : inLicence / characters,
    isConfig: rest >= 3 && settings >= 0.8 * rest && statements <= 0.05 * rest,
  };
}

/** Lines of a comment block at the beginning that holds a licence notice. */
function licenceLines(lines: readonly string[]): number {
  let end = 0;
  let inBlock = false;
  for (; end < lines.length && end < 100; end++) {
    const line = lines[end]!;
    if (/^\s*(?:\/\*|"""|<!--)/.test(line)) inBlock = true;
    if (!inBlock && !COMMENT.test(line) && !/^#!/.test(line)) break;
    if (inBlock && /\*\/|-->|"""\s*$/.test(line) && !/^\s*"""\s*$/.test(line)) inBlock = false;
  }
  return LICENCE.test(
    lines
      .slice(0, end)
      .join(' ')
      .replace(/[\s*#/]+/g, ' '),
  )
    ? end
    : 0;
}
