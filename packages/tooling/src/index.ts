export * from './bench.js';
export { readmeSnippets } from './readme-snippets.js';
