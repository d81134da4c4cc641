import type { MessagePort } from 'node:worker_threads';
import { loadTokenizer } from '@moestack/model';
import { encodeError } from '@moestack/schemas/errors';
import { ServingError } from '../errors.js';
import { encodePrompt } from './prompt.js';
import type { EncoderSetup, FromEncoder, ToEncoder } from './protocol.js';

/** Encodes prompts, one after the other. */
export async function runEncoder(setup: EncoderSetup, port: MessagePort): Promise<void> {
  const tokenizer = await loadTokenizer(setup.directory);
  port.on('message', ({ id, prompt }: ToEncoder) => {
    let answer: FromEncoder;
    try {
      answer = { type: 'encoded', id, ids: encodePrompt(prompt, tokenizer, setup.limits) };
    } catch (error) {
      answer = ServingError.isInstance(error)
        ? { type: 'refused', id, options: refusal(error) }
        : { type: 'failed', id, error: encodeError(error) };
    }
    port.postMessage(answer);
  });
}

/** What a refusal needs to be thrown again on the other side, with its status. */
function refusal(error: ServingError) {
  const { code, message, remedy, value, status, type, openAiCode } = error;
  return {
    code,
    message,
    remedy,
    value,
    status,
    type,
    openAiCode,
    ...(error.param !== null && { param: error.param }),
  };
}
