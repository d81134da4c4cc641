import { JsonObject, listElements } from '../json/json-object.js';
import { blockedInput, type GatewayGuardrail } from './guardrail.js';

/**
 * Checks the prompt of a body: every message's text, or every prompt that is a text. Token ids cannot be read here and
 * pass unchecked.
 *
 * @returns the body, with what was masked in it.
 * @throws {@link ServingError} 400 `serving/blocked-input`.
 */
export async function checkInput(body: JsonObject, guardrail: GatewayGuardrail): Promise<JsonObject> {
  const edits: Record<string, string> = {};
  for (const field of ['messages', 'prompt', 'input', 'instructions']) {
    const raw = body.raw(field);
    if (raw === undefined) continue;
    const checked = await checkValue(raw, guardrail);
    if (checked !== raw) edits[field] = checked;
  }
  return Object.keys(edits).length === 0 ? body : JsonObject.parse(body.with(edits));
}

/** Fields of messages and their parts that hold text. */
const textFields = ['content', 'text', 'output', 'arguments'] as const;
const maxDepth = 8;

async function checkValue(raw: string, guardrail: GatewayGuardrail, depth = 0): Promise<string> {
  const first = raw[0];
  if (first === '"') {
    const outcome = await guardrail.check(JSON.parse(raw) as string, 'INPUT');
    if (outcome.action === 'blocked') throw blockedInput(outcome.text);
    return outcome.action === 'redacted' ? JSON.stringify(outcome.text) : raw;
  }
  if (depth === maxDepth || (first !== '[' && first !== '{')) return raw;
  if (first === '[') {
    const elements = listElements(raw);
    // Lists of token ids are long and hold no text.
    if (elements.every((element) => element[0] !== '"' && element[0] !== '{' && element[0] !== '['))
      return raw;
    let changed = false;
    const checked: string[] = [];
    for (const element of elements) {
      const result = await checkValue(element, guardrail, depth + 1);
      if (result !== element) changed = true;
      checked.push(result);
    }
    return changed ? `[${checked.join(',')}]` : raw;
  }
  const object = JsonObject.parse(raw);
  const edits: Record<string, string> = {};
  for (const field of textFields) {
    const value = object.raw(field);
    if (value === undefined) continue;
    const result = await checkValue(value, guardrail, depth + 1);
    if (result !== value) edits[field] = result;
  }
  return object.with(edits);
}
