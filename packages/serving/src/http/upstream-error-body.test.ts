import { describe, expect, it } from 'vitest';
import { nestedErrorBody } from './upstream-error-body.js';
import { lastUsage } from './usage.js';

describe('an error body', () => {
  const nested = (status: number, text: string) =>
    JSON.parse(nestedErrorBody(status, text, 'w')) as { error: object };

  it('passes as it is when it is nested', () => {
    const text = '{"error": {"message":"x","code":18446744073709551615, "more":1.0}}';
    expect(nestedErrorBody(400, text, 'w')).toBe(text);
  });

  it('is nested when it is flat, as of SGLang', () => {
    const flat = '{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}';
    expect(nested(400, flat)).toEqual({
      error: { message: 'too long', type: 'BadRequestError', param: null, code: 400 },
    });
  });

  it.each([
    ['{"detail":"no such route"}', 'no such route'],
    ['{"detail":[{"loc":["body"],"msg":"bad"}]}', '[{"loc":["body"],"msg":"bad"}]'],
    ['{"error":"plain"}', 'plain'],
    ['<html>secret</html>', 'the server w answered with status 500'],
    ['', 'the server w answered with status 500'],
    ['[1]', 'the server w answered with status 500'],
  ])('of another form gets one: %s', (text, message) => {
    expect(nested(500, text)).toEqual({ error: { message, type: 'server_error', param: null, code: 500 } });
  });
});

describe('lastUsage', () => {
  it('reads the last one, and none out of a text', () => {
    const text =
      '{"usage":null}{"text":"\\"usage\\":{\\"prompt_tokens\\":9}","usage":{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":null}}';
    expect(lastUsage(text)).toEqual({ promptTokens: 3, completionTokens: 4, cachedTokens: 0 });
    expect(lastUsage('{"text":"\\"usage\\":{}"}')).toBeUndefined();
    expect(lastUsage('"usage":{"prompt_tokens":')).toBeUndefined();
    expect(lastUsage('{"usage":null}')).toBeUndefined();
  });
});
