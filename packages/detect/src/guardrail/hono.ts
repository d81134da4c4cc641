export { createGuardrailApp, type GuardrailAppOptions } from './hono-app.js';
export { type GuardChatOptions, guardChat } from './hono-middleware.js';
