import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AbortedError,
  decodeError,
  encodeError,
  hasErrorMarker,
  MoestackError,
  TimeoutError,
} from './errors.js';

const sample = () =>
  new MoestackError({
    code: 'demo/bad-block-size',
    message: 'expected a multiple of 128 for blockSize, got 96',
    value: { blockSize: 96 },
    remedy: 'pass a multiple of 128',
    cause: new RangeError('inner'),
  });

describe('MoestackError', () => {
  it('carries code, value, remedy and cause', () => {
    const error = sample();
    expect(error).toBeInstanceOf(Error);
    expect([error.code, error.value, error.remedy]).toEqual([
      'demo/bad-block-size',
      { blockSize: 96 },
      'pass a multiple of 128',
    ]);
    expect((error.cause as Error).message).toBe('inner');
  });

  it('is recognised by its marker, not by its class', () => {
    const foreign = Object.assign(new Error('x'), { [Symbol.for('moestack.error')]: true });
    expect(MoestackError.isInstance(foreign)).toBe(true);
    expect(MoestackError.isInstance(new Error('x'))).toBe(false);
    expect(hasErrorMarker(null, Symbol.for('moestack.error'))).toBe(false);
  });

  it('names what was aborted and what timed out', () => {
    expect(new AbortedError('loading').message).toBe('loading was aborted');
    expect(new TimeoutError('loading', 3).value).toBe(3);
  });
});

describe('encodeError and decodeError', () => {
  it('survive JSON', () => {
    const decoded = decodeError(JSON.parse(JSON.stringify(encodeError(sample()))));
    expect(decoded.code).toBe('demo/bad-block-size');
    expect(decoded.value).toEqual({ blockSize: 96 });
    expect((decoded.cause as MoestackError).name).toBe('RangeError');
  });

  it('make a MoestackError of any thrown value', () => {
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        const decoded = decodeError(JSON.parse(JSON.stringify(encodeError(thrown))));
        expect(MoestackError.isInstance(decoded)).toBe(true);
      }),
      { seed: 1 },
    );
  });

  it('refuse data that is no encoded error with a typed error', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (data) => {
        expect(decodeError(data).code).toBe('schemas/bad-encoded-error');
      }),
      { seed: 2 },
    );
  });

  it('do not recurse for ever on a cause that contains itself', () => {
    const loop = new Error('loop');
    loop.cause = loop;
    expect(MoestackError.isInstance(decodeError(encodeError(loop)))).toBe(true);
  });
});
