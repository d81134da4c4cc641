import { Template } from '@huggingface/jinja';
import { ModelError } from './errors.js';

/** One message of a conversation; templates may read further fields. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly [field: string]: unknown;
}

/** What a chat template is rendered with, besides the messages. */
export interface ChatTemplateOptions {
  /** Open the assistant's answer at the end. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables of the template, such as `tools`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** A compiled chat template (Jinja, in the dialect of Hugging Face tokenizers). */
export class ChatTemplate {
  private readonly template: Template;
  private readonly variables: Readonly<Record<string, unknown>>;

  /** @param variables - what every rendering sees: the special tokens by name. */
  constructor(source: string, variables: Readonly<Record<string, unknown>>) {
    this.variables = variables;
    try {
      this.template = new Template(source);
    } catch (cause) {
      throw badTemplate('cannot be parsed', cause);
    }
  }

  /** The prompt text of a conversation. */
  render(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    try {
      return this.template.render({
        ...this.variables,
        ...options.variables,
        messages,
        add_generation_prompt: options.addGenerationPrompt ?? true,
      });
    } catch (cause) {
      throw badTemplate('cannot render these messages', cause);
    }
  }
}

function badTemplate(what: string, cause: unknown): ModelError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ModelError({
    code: 'model/bad-template',
    message: `the chat template ${what}: ${reason.slice(0, 500)}`,
    value: reason.slice(0, 500),
    remedy: 'send roles and fields that the template of this model knows, or send text instead of messages',
    cause,
  });
}
