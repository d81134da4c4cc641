import { badRequest } from '../errors.js';

type Test = (value: unknown) => boolean;

const isSet: Test = (value) => value !== undefined && value !== null;
const isTrue: Test = (value) => value === true;
const isNonZero: Test = (value) => isSet(value) && value !== 0;
const isFilled: Test = (value) => isSet(value) && !(Array.isArray(value) && value.length === 0);
const hasKeys: Test = (value) => typeof value === 'object' && value !== null && Object.keys(value).length > 0;

/** Fields that would change the answer if they worked: ignoring them would be a wrong answer given as a right one. */
const unsupported: readonly (readonly [field: string, asksForIt: Test])[] = [
  ['tools', isFilled],
  ['functions', isFilled],
  ['tool_choice', (value) => isSet(value) && value !== 'none' && value !== 'auto'],
  ['function_call', (value) => isSet(value) && value !== 'none' && value !== 'auto'],
  ['response_format', (value) => isSet(value) && (value as { type?: unknown }).type !== 'text'],
  ['modalities', (value) => Array.isArray(value) && value.some((item) => item !== 'text')],
  ['audio', isSet],
  ['web_search_options', isSet],
  ['suffix', (value) => isSet(value) && value !== ''],
  ['presence_penalty', isNonZero],
  ['frequency_penalty', isNonZero],
  ['repetition_penalty', (value) => isSet(value) && value !== 1],
  ['logit_bias', hasKeys],
  ['min_tokens', isNonZero],
  ['use_beam_search', isTrue],
  ['guided_json', isSet],
  ['guided_regex', isSet],
  ['guided_choice', isSet],
  ['guided_grammar', isSet],
  ['structured_outputs', isSet],
  ['prompt_logprobs', isSet],
];

/**
 * Refuses fields that this server cannot honour.
 *
 * @throws {@link ServingError} with status 400 naming the field.
 */
export function refuseUnsupported(body: Readonly<Record<string, unknown>>): void {
  for (const [field, asksForIt] of unsupported) {
    if (!asksForIt(body[field])) continue;
    throw badRequest({
      param: field,
      message: `${field} is not supported by this server`,
      remedy: `leave ${field} out`,
    });
  }
}
