import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { MoestackError } from '@moestack/schemas/errors';
import { type Backend, createGateway, type GenerateRequest, ServingError } from '@moestack/serving';
import { createEmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { afterEach, describe, expect, it, vi } from 'vitest';

const directories: string[] = [];
const backends: Backend[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const backend of backends.splice(0)) await backend.close();
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true });
});

/** A copy of the model with some files replaced. */
async function modelWith(files: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'moestack-'));
  directories.push(directory);
  await cp(fileURLToPath(tinyMoe), directory, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  return directory;
}

const request = (overrides: Partial<GenerateRequest> = {}): GenerateRequest => ({
  requestId: 'r',
  model: 'tiny-moe',
  prompt: { type: 'text', text: 'The people' },
  sampling: { temperature: 0 },
  stop: [],
  ...overrides,
});

const signal = new AbortController().signal;

describe('a model that cannot be served', () => {
  const failure = (modelDirectory: string) =>
    createEmbeddedBackend({ modelDirectory }).then(
      () => undefined,
      (error: unknown) => error as MoestackError,
    );

  it.each([
    [{ 'config.json': '{' }, 'model/bad-config'],
    [{ 'config.json': '{"model_type":"llama"}' }, 'model/'],
    [{ 'tokenizer.json': '[]' }, 'model/bad-tokenizer'],
    [{ 'generation_config.json': '{"temperature":"hot"}' }, 'model/bad-config'],
  ])('is a typed error: %j', async (files, code) => {
    const error = await failure(await modelWith(files));
    expect(MoestackError.isInstance(error)).toBe(true);
    expect(error?.code).toContain(code);
    expect(error?.remedy).not.toBe('');
  });

  it('keeps the type of an error from a worker', async () => {
    const error = await failure(await modelWith({ 'model.safetensors': 'short' }));
    expect(MoestackError.isInstance(error)).toBe(true);
    expect(error?.code).toMatch(/^fp8\//);
  });

  it('refuses options that no model allows', async () => {
    for (const options of [
      { maxBatch: 0 },
      { contextTokens: 513 },
      { kvBlocks: 3 },
      { maxWaiting: Number.NaN },
    ]) {
      await expect(createEmbeddedBackend({ modelDirectory: tinyMoe, ...options })).rejects.toMatchObject({
        code: 'serving/bad-options',
      });
    }
  });

  it('stops loading when told to', async () => {
    await expect(
      createEmbeddedBackend({ modelDirectory: tinyMoe, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('a full queue', () => {
  it('is 429 with Retry-After over HTTP', async () => {
    const backend = await createEmbeddedBackend({
      modelDirectory: tinyMoe,
      name: 'tiny-moe',
      maxBatch: 1,
      maxWaiting: 1,
    });
    backends.push(backend);
    const gateway = createGateway({ backend });
    const post = () =>
      gateway.fetch(
        new Request('http://x/v1/completions', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ prompt: 'The people', max_tokens: 60 }),
        }),
      );
    const responses = await Promise.all(Array.from({ length: 12 }, post));
    const refused = responses.filter((response) => response.status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(responses.filter((response) => response.status === 200).length).toBeGreaterThan(0);
    expect(refused[0]?.headers.get('retry-after')).toBe('1');
    expect(refused.length + responses.filter((response) => response.status === 200).length).toBe(12);
  });
});

describe('one rank for both stages', () => {
  it('gives the same text as two', async () => {
    const texts: string[] = [];
    for (const stages of ['split', 'mixed'] as const) {
      const backend = await createEmbeddedBackend({ modelDirectory: tinyMoe, name: 'tiny-moe', stages });
      backends.push(backend);
      let text = '';
      const generation = backend.generate(
        request({ maxTokens: 40, sampling: { temperature: 0.9 }, seed: 5 }),
        { signal },
      );
      for await (const event of generation) if (event.type === 'delta') text += event.text;
      texts.push(text);
    }
    expect(texts[0]).not.toBe('');
    expect(texts[1]).toBe(texts[0]);
  });
});

describe('a lost worker without restarts', () => {
  it('fails what runs with a typed error, then refuses with 503', async () => {
    const workers = new Set<Worker>();
    const postMessage = Worker.prototype.postMessage;
    vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker, ...args) {
      workers.add(this);
      postMessage.apply(this, args);
    });
    const backend = await createEmbeddedBackend({ modelDirectory: tinyMoe, name: 'tiny-moe', restarts: 0 });
    backends.push(backend);
    const running = backend
      .generate(request({ maxTokens: 250, ignoreEos: true }), { signal })
      [Symbol.asyncIterator]();
    await running.next();
    await running.next();
    for (const worker of workers) await worker.terminate();
    const drain = async () => {
      while (!(await running.next()).done);
    };
    await expect(drain()).rejects.toMatchObject({ code: 'serving/engine-failed', status: 500 });
    expect(backend.health().status).toBe('failed');
    const refused = await backend
      .generate(request(), { signal })
      [Symbol.asyncIterator]()
      .next()
      .catch((error: unknown) => error);
    expect(ServingError.isInstance(refused) && refused.status).toBe(503);
  });
});
