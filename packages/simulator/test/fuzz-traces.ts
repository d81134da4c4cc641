import { readFixture } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import { linesOf, readCsvTrace, readMooncakeTrace } from '../src/index.js';
import { seededRandom } from '../src/workload/random.js';

const text = (name: string): string =>
  new TextDecoder().decode(readFixture(`simulator/${name}`)).slice(0, 6000);
const seeds = [
  { read: readMooncakeTrace, text: text('mooncake_conversation.jsonl') },
  { read: readCsvTrace, text: text('azure_2023_code.csv') },
  {
    read: readCsvTrace,
    text: 'TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n',
  },
];
const tokens = [
  '{',
  '}',
  '[',
  ',',
  '"',
  '\n',
  '\r\n',
  '-1',
  '1e999',
  'null',
  '9007199254740993',
  'NaN',
  '\u0000',
  '\ufeff',
  '__proto__',
];

/** Reads mutated traces; throws if one fails otherwise than with a typed error. */
export function fuzz(seed: number, runs: number): { runs: number; rejected: number } {
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  let rejected = 0;
  for (let run = 0; run < runs; run++) {
    const base = seeds[below(seeds.length)]!;
    let mutated = base.text.slice(0, 100 + below(base.text.length));
    for (let edit = below(4); edit >= 0; edit--) {
      const at = below(mutated.length + 1);
      const cut = at + below(30);
      mutated =
        mutated.slice(0, at) + (random() < 0.7 ? tokens[below(tokens.length)] : '') + mutated.slice(cut);
    }
    const read = random() < 0.9 ? base.read : seeds[below(seeds.length)]!.read;
    try {
      let previousUs = 0;
      for (const { arrivalUs, inputTokens, outputTokens } of read(linesOf(mutated))) {
        if (!(arrivalUs >= previousUs && inputTokens >= 1 && outputTokens >= 1)) {
          throw new Error(`a trace was read as nonsense: ${arrivalUs} ${inputTokens} ${outputTokens}`);
        }
        previousUs = arrivalUs;
      }
    } catch (error) {
      if (!MoestackError.isInstance(error)) throw error;
      rejected++;
    }
  }
  return { runs, rejected };
}
