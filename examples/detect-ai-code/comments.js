const PATTERNS = {
  javascript: /\/\*([\s\S]*?)\*\/|\/\/([^\n]*)/g,
  python: /"""([\s\S]*?)"""|'''([\s\S]*?)'''|#([^\n]*)/g,
};

/** The prose in a function: comments and documentation strings, without their marks. A string that looks like one is taken too. */
export function commentsOf(code, language) {
  const texts = [...code.matchAll(PATTERNS[language])].map((match) =>
    match.slice(1).find((text) => text !== undefined),
  );
  return texts.map((text) => text.replace(/^\s*[*/]+ ?/gm, '').trim()).join('\n');
}
