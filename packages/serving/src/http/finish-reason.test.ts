import { expect, it } from 'vitest';
import { findFinishReason } from './finish-reason.js';

it.each([
  ['{"choices":[{"finish_reason":null}]}', undefined],
  ['', undefined],
  ['{"choices":[{"finish_reason" : "stop"},{"finish_reason":"length"}]}', 'stop'],
  ['{"choices":[{"finish_reason":null},{"finish_reason":"tool_calls"}]}', 'tool_calls'],
  ['{"choices":[{"finish_reason":"repetition"}]}', 'unknown'],
  ['{"choices":[{"finish_reason":""}]}', 'unknown'],
  [JSON.stringify({ text: '"finish_reason":"stop"', finish_reason: 'length' }), 'length'],
  [JSON.stringify({ text: '"finish_reason":"stop"', finish_reason: null }), undefined],
])('reads %s', (text, reason) => {
  expect(findFinishReason(text)).toBe(reason);
});
