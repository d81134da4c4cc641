export { GenAiSpans, type GenAiSpansOptions, genAiSpans } from './gen-ai-spans.js';
