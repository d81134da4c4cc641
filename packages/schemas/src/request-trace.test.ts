import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readRequestTrace, type TraceRequest } from './request-trace.js';

class Refused extends Error {}

function read(text: string, hashBlockTokens?: number): TraceRequest[] {
  const fail = ({ line, expected, got }: { line: number; expected: string; got: string }) =>
    new Refused(`line ${line}: expected ${expected}, got ${got}`);
  return [
    ...readRequestTrace(text.split('\n'), {
      fail,
      ...(hashBlockTokens === undefined ? {} : { hashBlockTokens }),
    }),
  ];
}

const rows = fc.array(
  fc.record({
    arrivalUs: fc.integer({ min: 0, max: 2 ** 50 }),
    inputTokens: fc.integer({ min: 1, max: 2 ** 30 }),
    outputTokens: fc.integer({ min: 1, max: 2 ** 30 }),
    hashIds: fc.array(fc.maxSafeInteger(), { maxLength: 5 }),
  }),
  { maxLength: 8 },
);

describe('readRequestTrace', () => {
  it('reads back what is written in either format', () => {
    fc.assert(
      fc.property(rows, (requests) => {
        const json = requests.map(({ arrivalUs, inputTokens, outputTokens, hashIds }) =>
          JSON.stringify({
            timestamp: arrivalUs / 1000,
            input_length: inputTokens,
            output_length: outputTokens,
            hash_ids: hashIds.slice(0, inputTokens),
          }),
        );
        const csv = requests.map(({ arrivalUs, inputTokens, outputTokens }) =>
          [outputTokens, 'x', arrivalUs, inputTokens].join(','),
        );
        expect(read(json.join('\r\n\n'), 1)).toEqual(
          requests.map((request) => ({ ...request, hashIds: request.hashIds.slice(0, request.inputTokens) })),
        );
        expect(read(['\uFEFFoutput_tokens,user,arrival_us,input_tokens', ...csv, ''].join('\n'))).toEqual(
          requests.map(({ hashIds: _, ...request }) => request),
        );
      }),
      { seed: 61, numRuns: 200 },
    );
  });

  it('refuses what is no trace with the error of its caller, and only with that', () => {
    const field = fc.oneof(fc.string({ maxLength: 12 }), fc.double(), fc.constant('2023-11-16 18:15:46'));
    const header = fc.constantFrom(
      'arrival_us,input_tokens,output_tokens',
      'TIMESTAMP,ContextTokens,GeneratedTokens',
      '{',
    );
    fc.assert(
      fc.property(header, fc.array(fc.array(field, { maxLength: 4 })), (first, lines) => {
        try {
          read([first, ...lines.map((cells) => cells.join(','))].join('\n'));
        } catch (error) {
          expect(error).toBeInstanceOf(Refused);
        }
      }),
      { seed: 62, numRuns: 500 },
    );
  });

  it.each([
    ['TIMESTAMP,ContextTokens,GeneratedTokens\n9999-01-01 00:00:00,1,1', 'line 2: expected a time'],
    ['TIMESTAMP,ContextTokens,GeneratedTokens\n1066-10-14 09:00:00,1,1', 'line 2: expected a time'],
    ['arrival_us,input_tokens,output_tokens\n1,2,3,4', 'line 2: expected 3 fields'],
    ['arrival_us,input_tokens\n1,2', 'line 1: expected a header'],
    ['arrival_us,input_tokens,output_tokens\n1,many,3', 'for input_tokens, got many'],
    ['{"timestamp":0,"input_length":512,"output_length":1,"hash_ids":[1,2]}', 'at most 1 integers'],
    [`{"timestamp":0,"x":"${'y'.repeat(2 ** 20)}"}`, 'characters a line'],
  ])('refuses %#', (text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});
