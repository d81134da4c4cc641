import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { SglangRecorderClient } from '../src/interop/index.js';
import { type RecordSglangOptions, recordSglang } from '../src/interop/node.js';
import { SglangStandIn, type StandInOptions } from './sglang-stand-in.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function standIn(options: StandInOptions = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'moestack-sglang-'));
  const server = new SglangStandIn(directory, options);
  const url = await server.listen();
  cleanups.push(
    () => server.close(),
    () => rm(directory, { recursive: true, force: true }),
  );
  const record = (more: Partial<RecordSglangOptions> = {}) =>
    recordSglang(url, { directory, recordSeconds: 0.02, timeoutSeconds: 5, fileTimeoutSeconds: 2, ...more });
  return { server, url, record, directory };
}

describe('recording a live server', () => {
  it.each(['GET', 'POST'] as const)('starts, stops, dumps and reads the new file by %s', async (method) => {
    const { server, record } = await standIn();
    await record({ method });
    const { record: second, paths } = await record({ method });
    expect(server.calls).toEqual(
      [...Array.from({ length: 2 }, () => ['start', 'stop', 'dump']).flat()].map(
        (action) => `${method} ${action}_expert_distribution_record`,
      ),
    );
    expect(paths).toHaveLength(1);
    expect(second).toMatchObject({ mode: 'stat', steps: 3, averageUtilization: 0.75 });
    expect([...second.counts.load.counts]).toEqual([0, 0, 0, 0, 12, 15, 18, 21, 24, 27, 30, 33]);
  });

  it('reads the files of all ranks in mode per_pass', async () => {
    const { record } = await standIn({ mode: 'per_pass', ranks: 2 });
    const { record: result, paths } = await record({ files: 2 });
    expect(paths).toHaveLength(2);
    expect(result.passes.map(({ counts }) => [...counts])).toEqual([
      [10, 4, 6],
      [10, 4, 6],
      [10, 4, 6],
    ]);
  });

  it('waits for a file that is written after the answer', async () => {
    const { record } = await standIn({ slowFile: true });
    expect((await record()).record.steps).toBe(3);
  });

  it('sends the API key', async () => {
    const { record } = await standIn({ apiKey: 'secret' });
    expect((await record({ apiKey: 'secret' })).record.steps).toBe(3);
    await expect(record({ apiKey: 'other' })).rejects.toMatchObject({
      code: 'placement/engine-failed',
      remedy: expect.stringContaining('API key'),
    });
  });
});

describe('what goes wrong', () => {
  it('a server without the recorder says so', async () => {
    const { record } = await standIn({ mode: null });
    await expect(record()).rejects.toMatchObject({
      code: 'placement/engine-failed',
      message: expect.stringContaining('500'),
      remedy: expect.stringContaining('--expert-distribution-recorder-mode'),
    });
  });

  it('a server that is not there, or another one', async () => {
    const { server, url, directory } = await standIn();
    await server.close();
    await expect(recordSglang(url, { directory })).rejects.toMatchObject({ code: 'placement/engine-failed' });
    expect(() => new SglangRecorderClient('file:///etc')).toThrow('http URL');
    expect(() => new SglangRecorderClient('http://x', { timeoutSeconds: 0 })).toThrow('seconds');
  });

  it('a call that is never answered', async () => {
    const { record } = await standIn({ hangs: 'dump_expert_distribution_record' });
    await expect(record({ timeoutSeconds: 0.1 })).rejects.toMatchObject({ code: 'timeout' });
  });

  it('a dump that never appears', async () => {
    const { record } = await standIn({ dumpsNothing: true });
    await expect(record({ fileTimeoutSeconds: 0.1 })).rejects.toMatchObject({ code: 'timeout' });
  });

  it('an abort ends recording, on the server too', async () => {
    const { server, record } = await standIn();
    const controller = new AbortController();
    const recording = record({ recordSeconds: 60, signal: controller.signal });
    while (!server.recording) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    await expect(recording).rejects.toMatchObject({ code: 'aborted' });
    expect(server.recording).toBe(false);
    await expect(record({ signal: controller.signal })).rejects.toMatchObject({ code: 'aborted' });
  });

  it('a folder that is not there', async () => {
    const { url } = await standIn();
    await expect(recordSglang(url, { directory: '/nowhere/at/all' })).rejects.toMatchObject({
      code: 'placement/bad-config',
    });
  });
});
