import { readFixture } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import { parseTrace, scaleTrace } from '../src/load/index.js';
import { seededRandom } from '../src/random.js';

const seeds = ['mooncake_conversation.jsonl', 'azure_2023_conv.csv'].map((name) =>
  readFixture(`serving/traces/${name}`).subarray(0, 4096),
);
const published = new TextEncoder().encode(
  'TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n',
);
const pieces = [
  '{',
  '}',
  '-1',
  '1e400',
  ',',
  '\n',
  '"',
  'null',
  '99999999999',
  '[1,2,3]',
  '\0',
  '2023-99-99 00:00:00',
];

/** Breaks traces: each must be refused by a MoestackError, or be in order and within bounds. */
export async function fuzz(seed: number, rounds: number): Promise<{ runs: number; rejected: number }> {
  const random = seededRandom(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const encoder = new TextEncoder();
  let rejected = 0;
  for (let run = 0; run < rounds; run++) {
    const sources = [...seeds, published];
    let bytes: Uint8Array = Uint8Array.from(sources[below(sources.length)]!);
    for (let change = below(3); change >= 0; change--) {
      const at = below(bytes.length);
      const kind = below(4);
      if (kind === 0) bytes[at] = below(256);
      else if (kind === 1) bytes = bytes.slice(0, Math.max(1, at));
      else if (kind === 2) {
        const piece = encoder.encode(pieces[below(pieces.length)]!);
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...piece, ...bytes.subarray(at)]);
      } else bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + below(40))]);
      if (bytes.length === 0) bytes = Uint8Array.of(10);
    }
    try {
      const { requests } = scaleTrace(parseTrace('fuzz', bytes, { maxRequests: 20 }), { inputScale: 0.1 });
      requests.forEach(({ arrivalUs, inputTokens, outputTokens, hashIds = [] }, row) => {
        const lengths = [arrivalUs, inputTokens, outputTokens, ...hashIds];
        if (!lengths.every(Number.isSafeInteger) || inputTokens < 1 || outputTokens < 1) {
          throw new Error(`row ${row} has lengths that are none: ${lengths}`);
        }
        if (row > 0 && arrivalUs < requests[row - 1]!.arrivalUs)
          throw new Error(`row ${row} is out of order`);
      });
    } catch (error) {
      if (!MoestackError.isInstance(error)) throw error;
      rejected++;
    }
  }
  return { runs: rounds, rejected };
}
