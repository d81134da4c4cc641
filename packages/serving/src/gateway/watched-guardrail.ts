import type { GatewayGuardrail } from '../guardrail/guardrail.js';
import type { RequestLog } from './request-log.js';

/** A guardrail that tells a request's log of every text with findings; that is all that annotating does. */
export function watchedGuardrail(
  guardrail: GatewayGuardrail | undefined,
  log: RequestLog,
): GatewayGuardrail | undefined {
  if (guardrail === undefined) return undefined;
  return {
    onlyAnnotates: guardrail.onlyAnnotates,
    async check(text, source) {
      const outcome = await guardrail.check(text, source);
      if (outcome.action !== 'none') log.guarded(source, outcome.action);
      return outcome;
    },
  };
}
