import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { guardChat } from '../src/guardrail/hono.js';
import { createGuardrail, type GuardrailMode } from '../src/guardrail/index.js';

function app(answer: string, options: { stream?: boolean; mode?: GuardrailMode } = {}) {
  const seen: string[] = [];
  const guardrail = createGuardrail(
    { name: 'g', words: { list: ['darn'] }, pii: [{ type: 'EMAIL' }] },
    options.mode === undefined ? {} : { mode: options.mode },
  );
  const hono = new Hono();
  hono.onError((_, context) => context.text('failed', 500));
  hono.use('/v1/chat/completions', guardChat(guardrail, { maximumBodyBytes: 10_000 }));
  hono.post('/v1/chat/completions', async (context) => {
    seen.push(JSON.stringify(await context.req.json()));
    if (options.stream !== true)
      return context.json({
        choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: answer } }],
      });
    const chunk = (delta: object, finish: string | null = null) =>
      `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
    const half = Math.floor(answer.length / 2);
    const body = [
      chunk({ role: 'assistant', content: '' }),
      chunk({ content: answer.slice(0, half) }),
      chunk({ content: answer.slice(half) }),
      chunk({}, 'stop'),
      'data: [DONE]\n\n',
    ].join('');
    return context.body(body, 200, { 'content-type': 'text/event-stream' });
  });
  const ask = (content: string | object[], raw?: string) =>
    hono.request('/v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: raw ?? JSON.stringify({ messages: [{ role: 'user', content }] }),
    });
  return { ask, seen };
}

describe('guardChat', () => {
  it('refuses a blocked message with an OpenAI error', async () => {
    const { ask, seen } = app('fine');
    const response = await ask('darn');
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'content_filter' } });
    expect(seen).toEqual([]);
  });

  it('masks messages, in strings and in parts', async () => {
    const { ask, seen } = app('fine');
    expect((await ask('I am a@b.org')).headers.get('x-moestack-guardrail')).toBe('none');
    await ask([{ type: 'text', text: 'I am a@b.org' }]);
    expect(seen).toHaveLength(2);
    for (const body of seen) expect(body).toContain('I am {EMAIL}');
  });

  it('masks and blocks answers', async () => {
    expect(await (await app('to c@d.org').ask('hi')).json()).toMatchObject({
      choices: [{ finish_reason: 'stop', message: { content: 'to {EMAIL}' } }],
    });
    const blocked = await app('oh darn').ask('hi');
    expect(blocked.headers.get('x-moestack-guardrail')).toBe('blocked');
    expect(await blocked.json()).toMatchObject({
      choices: [
        {
          finish_reason: 'content_filter',
          message: { content: 'This answer was blocked by a content policy.' },
        },
      ],
    });
  });

  it('does the same to streams, across chunks', async () => {
    const masked = await (await app('to c@d.org', { stream: true }).ask('hi')).text();
    expect(masked).toContain('to {EMAIL}');
    expect(masked).not.toContain('c@');
    expect(masked.endsWith('data: [DONE]\n\n')).toBe(true);
    const blocked = await (await app('oh darn', { stream: true }).ask('hi')).text();
    expect(blocked).toContain('blocked by a content policy');
    expect(blocked).toContain('"finish_reason":"content_filter"');
    const annotated = await (await app('oh darn', { stream: true, mode: 'annotate' }).ask('hi')).text();
    expect(annotated).toContain('oh ');
  });

  it('leaves other bodies to the route, and bounds their length', async () => {
    const { ask } = app('fine');
    expect((await ask('', 'no json')).status).toBe(500);
    expect((await ask('x'.repeat(20_000))).status).toBe(413);
    expect((await ask('', 'null')).status).toBe(200);
  });
});
