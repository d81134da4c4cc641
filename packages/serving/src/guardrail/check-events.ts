import type { Backend, BackendEvent } from '../backend.js';
import { type GatewayGuardrail, maxHeldCharacters, tooLongToCheck } from './guardrail.js';

/**
 * A backend whose texts are checked before anybody sees them: each continuation is held back until it is whole. A text
 * that was changed loses its log-probabilities, which would spell it out.
 */
export function guardedBackend(backend: Backend, guardrail: GatewayGuardrail): Backend {
  return {
    name: backend.name,
    models: () => backend.models(),
    metrics: () => backend.metrics(),
    health: () => backend.health(),
    close: () => backend.close(),
    generate: (request, options) => checkEvents(backend.generate(request, options), guardrail),
  };
}

async function* checkEvents(
  events: AsyncIterable<BackendEvent>,
  guardrail: GatewayGuardrail,
): AsyncGenerator<BackendEvent> {
  let text = '';
  const held: Extract<BackendEvent, { type: 'delta' }>[] = [];
  for await (const event of events) {
    if (event.type === 'delta') {
      text += event.text;
      if (text.length > maxHeldCharacters) throw tooLongToCheck();
      held.push(event);
      if (guardrail.onlyAnnotates) yield event;
      continue;
    }
    if (event.type === 'finish') {
      const outcome = await guardrail.check(text, 'OUTPUT');
      if (!guardrail.onlyAnnotates) {
        if (outcome.action === 'none' || outcome.action === 'annotated') yield* held;
        else yield { type: 'delta', text: outcome.text };
      }
    }
    yield event;
  }
}
