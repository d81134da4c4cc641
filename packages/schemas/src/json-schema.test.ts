import { describe, expect, it } from 'vitest';
import { BenchmarkReport, GenerationConfig, persistedSchemas, toJsonSchema } from './index.js';

describe('toJsonSchema', () => {
  it('exports every persisted schema', () => {
    for (const [name, schema] of Object.entries(persistedSchemas)) {
      const json = toJsonSchema(schema);
      // A union of records, such as the lines of a log, has its objects one level below.
      const variants = (json['oneOf'] ?? json['anyOf'] ?? [json]) as { type?: unknown }[];
      expect(
        variants.map(({ type }) => type),
        name,
      ).toEqual(variants.map(() => 'object'));
      expect(JSON.parse(JSON.stringify(json)), name).toEqual(json);
    }
  });

  it('closes files we write and leaves open what others send', () => {
    expect(toJsonSchema(BenchmarkReport)['additionalProperties']).toBe(false);
    expect(GenerationConfig.parse({ temperature: 0.8, other: { big: 1 } })).toEqual({
      temperature: 0.8,
      other: { big: 1 },
    });
  });

  it('refuses sampling defaults out of range', () => {
    expect(GenerationConfig.safeParse({ temperature: -1 }).success).toBe(false);
    expect(GenerationConfig.safeParse({ top_p: 0 }).success).toBe(false);
  });
});
