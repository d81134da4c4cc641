/** The bodies of all fenced blocks of `language` in a Markdown text, in order. */
export function readmeSnippets(markdown: string, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm');
  return [...markdown.matchAll(fence)].map((match) => match[1] ?? '');
}
