import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { loadTokenizer } from '@moestack/model';
import { CorpusConfig, CorpusManifest } from '@moestack/schemas';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TrainingError } from '../errors.js';
import { normalizeText, splitTitle, stripGutenberg } from './clean-text.js';
import { fetchPackage, integrityOf } from './fetch-package.js';
import { corpusFiles, prepareCorpus } from './prepare-corpus.js';
import { readTarball } from './read-tarball.js';
import { createTokenSource } from './token-source.js';

let folder: string;
let manifest: CorpusManifest;

/** Sentences of a small grammar: enough to merge and to fill sequences, and different in every document. */
function story(seed: number, sentences: number): string {
  const nouns = ['keeper', 'harbour', 'lantern', 'captain', 'stone', 'river', 'garden', 'winter'];
  const verbs = ['found', 'carried', 'forgot', 'praised', 'followed', 'mended'];
  let state = seed >>> 0;
  const pick = (list: readonly string[]): string => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return list[(state >>> 16) % list.length]!;
  };
  return Array.from(
    { length: sentences },
    () => `The ${pick(nouns)} ${pick(verbs)} the ${pick(nouns)}.`,
  ).join('\n');
}

const passage =
  'Nobody had told the visitors that the bridge behind the mill was closed until the first of May';

function config(): CorpusConfig {
  return CorpusConfig.parse({
    schemaVersion: 1,
    name: 'stories',
    sources: [
      { type: 'files', paths: ['a.txt', 'b.txt', 'short.txt'], license: 'CC0-1.0' },
      {
        type: 'npm',
        package: 'made-up',
        version: '1.0.0',
        integrity,
        match: '^texts/',
        license: 'MIT',
        format: 'gutenberg',
      },
    ],
    exclude: ['passages.jsonl'],
    heldOutFraction: 0.05,
    nearDuplicates: { threshold: 1 },
    vocabularySize: 320,
  });
}

let integrity: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'corpus-'));
  writeFileSync(join(folder, 'a.txt'), `${story(1, 300)}\n${passage}\n${story(2, 300)}`);
  writeFileSync(join(folder, 'b.txt'), story(3, 400).replaceAll('\n', '\r\n'));
  writeFileSync(join(folder, 'short.txt'), 'A short note, naïve and cold.');
  writeFileSync(join(folder, 'passages.jsonl'), `${JSON.stringify({ text: passage })}\n`);
  const archive = tarball({
    'package/package.json': '{}',
    'package/texts/c.txt': `[A Third Story by Nobody 1900]\n\n${story(4, 300)}\n\nEnd of Project Gutenberg's A Third Story\nsmall print`,
  });
  integrity = integrityOf(archive);
  writeFileSync(join(folder, 'made-up-1.0.0.tgz'), archive);
  manifest = await prepareCorpus(config(), {
    directory: join(folder, 'out'),
    baseDirectory: folder,
    cacheDirectory: folder,
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('prepareCorpus', () => {
  it('writes a manifest that its schema takes, with hashes that hold', () => {
    const out = (name: string) => readFileSync(join(folder, 'out', name));
    expect(CorpusManifest.parse(JSON.parse(out('manifest.json').toString()))).toEqual(manifest);
    const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
    for (const part of [manifest.train, manifest.heldOut, manifest.tokenizer])
      expect(hash(out(part.file))).toBe(part.sha256);
    expect(manifest.licenses).toEqual(['CC0-1.0', 'MIT']);
    expect(manifest.excludedPassages).toEqual({ given: 1, found: 1 });
    expect(manifest.documents.map(({ title }) => title)).toEqual([
      'a.txt',
      'b.txt',
      'short.txt',
      'A Third Story by Nobody 1900',
    ]);
    const tokens = (key: 'trainTokens' | 'heldOutTokens') =>
      manifest.documents.reduce((sum, document) => sum + document[key], 0);
    expect([tokens('trainTokens'), tokens('heldOutTokens')]).toEqual([
      manifest.train.tokens,
      manifest.heldOut.tokens,
    ]);
  });

  it('writes token files that decode to the text without what was excluded', async () => {
    const tokenizer = await loadTokenizer(join(folder, 'out'));
    const read = (name: string) => {
      const { buffer, byteOffset, length } = readFileSync(join(folder, 'out', name));
      return tokenizer.decode(new Uint16Array(buffer.slice(byteOffset, byteOffset + length)));
    };
    const train = read(corpusFiles.train);
    const whole = [
      `${story(1, 300)}\n`,
      `\n${story(2, 300)}`,
      story(3, 400),
      'A short note, naïve and cold.',
      story(4, 300),
    ].join('');
    const held = manifest.documents.reduce((sum, { heldOutCharacters }) => sum + heldOutCharacters, 0);
    expect(train.length + read(corpusFiles.heldOut).length).toBe(whole.length);
    expect(read(corpusFiles.heldOut)).toHaveLength(held);
    expect(train).not.toContain('bridge behind the mill');
    expect(train + read(corpusFiles.heldOut)).not.toContain('small print');
    expect(train.startsWith(story(1, 300))).toBe(true);
    expect(Buffer.byteLength(train)).toBe(manifest.train.bytes);
  });

  it('writes the same bytes again', async () => {
    const again = await prepareCorpus(config(), {
      directory: join(folder, 'again'),
      baseDirectory: folder,
      cacheDirectory: folder,
    });
    expect(again).toEqual(manifest);
    for (const name of Object.values(corpusFiles))
      expect(readFileSync(join(folder, 'again', name))).toEqual(readFileSync(join(folder, 'out', name)));
  });

  it('says which file is missing', async () => {
    const missing = { ...config(), exclude: ['nowhere.jsonl'] };
    const options = { directory: join(folder, 'x'), baseDirectory: folder, cacheDirectory: folder };
    await expect(prepareCorpus(missing, options)).rejects.toThrow(/nowhere\.jsonl/);
  });
});

describe('createTokenSource', () => {
  const source = (options: { batchSequences?: number; ranks?: number; seed?: number } = {}) =>
    createTokenSource({
      file: join(folder, 'out', corpusFiles.train),
      contextTokens: 32,
      batchSequences: 4,
      seed: 1,
      ...options,
    });

  it('gives the same batch for the same step, whatever came before', () => {
    const [a, b] = [source(), source()];
    const later = b.batch(41, 0);
    for (let step = 0; step < 41; step++) a.batch(step, 0);
    expect(a.batch(41, 0)).toEqual(later);
    expect(source({ seed: 2 }).batch(41, 0)).not.toEqual(later);
    a.close();
    b.close();
  });

  it('gives ranks the shares of what one rank would see', () => {
    const [one, two] = [source(), source({ ranks: 2 })];
    for (let step = 0; step < 200; step += 17) {
      const whole = one.batch(step, 0);
      expect([...two.batch(step, 0), ...two.batch(step, 1)]).toEqual([...whole]);
    }
  });

  it('holds every sequence of an epoch once, in another order each epoch', () => {
    const one = source({ batchSequences: 1 });
    const epoch = (number: number) =>
      Array.from({ length: one.sequences }, (_, i) => one.batch(number * one.sequences + i, 0).join());
    const [first, second] = [epoch(0), epoch(1)];
    // Each but the last tokens of the runs that are cut off is predicted exactly once.
    expect(first.length * 32).toBeGreaterThan(manifest.train.tokens - 33 * manifest.train.segments.length);
    expect(first).not.toEqual(second);
    expect([...first].sort()).not.toEqual(first);
    expect(new Set(first).size).toBeGreaterThan(0.95 * first.length);
  });

  it('crosses from document to document only between short ones', () => {
    const one = source({ batchSequences: 1 });
    const long = manifest.train.segments.filter(([, , tokens]) => tokens >= 33).length;
    expect(long).toBeLessThan(manifest.train.segments.length);
    for (let step = 0; step < 2 * one.sequences; step++) {
      const row = one.batch(step, 0);
      const end = row.indexOf(0);
      expect(end === -1 || end === 32).toBe(true);
    }
  });

  it.each([
    [{ contextTokens: 1 << 20 }, 'training/bad-corpus'],
    [{ file: '/nowhere/train.tokens' }, 'training/bad-corpus'],
    [{ ranks: 3 }, 'training/bad-config'],
  ])('refuses %j', (change, code) => {
    const options = {
      file: join(folder, 'out', corpusFiles.train),
      contextTokens: 32,
      batchSequences: 4,
      seed: 1,
    };
    expect(() => createTokenSource({ ...options, ...change })).toThrow(expect.objectContaining({ code }));
  });
});

describe('fetchPackage', () => {
  const reference = { name: 'made-up', version: '1.0.0' };

  it('takes an archive from the cache without a network, when its hash holds', async () => {
    expect(
      (await fetchPackage({ ...reference, integrity }, { cacheDirectory: folder })).length,
    ).toBeGreaterThan(100);
  });

  it.each(['--registry=x', '../up', 'https://example.com/a.tgz', 'A B'])(
    'refuses the name %s',
    async (name) => {
      await expect(
        fetchPackage({ name, version: '1.0.0', integrity }, { cacheDirectory: folder }),
      ).rejects.toThrow(expect.objectContaining({ code: 'training/bad-package' }));
    },
  );
});

describe('readTarball', () => {
  it('throws typed errors for damaged archives and nothing else', async () => {
    const plain = rawTarball({ 'package/a.txt': 'some text', 'package/b.txt': 'x'.repeat(700) });
    expect([...(await readTarball(gzipSync(plain))).keys()]).toEqual(['package/a.txt', 'package/b.txt']);
    await fc.assert(
      fc.asyncProperty(fc.nat(plain.length - 1), fc.nat(255), async (at, byte) => {
        const damaged = Buffer.from(plain);
        damaged[at] = byte;
        const outcome = await readTarball(gzipSync(damaged, { level: 1 })).catch((error: unknown) => error);
        expect(outcome instanceof Map || TrainingError.isInstance(outcome)).toBe(true);
      }),
      { numRuns: 300, seed: 1 },
    );
    await expect(readTarball(new Uint8Array(40))).rejects.toThrow(
      expect.objectContaining({ code: 'training/bad-package' }),
    );
  });
});

describe('clean text', () => {
  it('has one kind of line end, no white space before it and no gaps', () => {
    expect(normalizeText('  a \r\nb\rc\n\n\n\n\td \n')).toBe('a\nb\nc\n\n d');
  });

  it('is the author alone', () => {
    const text =
      'x\n*** START OF THIS PROJECT GUTENBERG EBOOK A ***\nbody\n*** END OF THIS PROJECT GUTENBERG EBOOK A ***\ny';
    expect(stripGutenberg(text).trim()).toBe('body');
    expect(splitTitle('[Emma by Jane Austen 1816]\nVOLUME')).toEqual({
      title: 'Emma by Jane Austen 1816',
      body: 'VOLUME',
    });
    expect(splitTitle('no [title] here').title).toBeUndefined();
  });
});

function tarball(files: Record<string, string>): Buffer {
  return gzipSync(rawTarball(files));
}

function rawTarball(files: Record<string, string>): Buffer {
  const blocks: Buffer[] = [];
  for (const [name, text] of Object.entries(files)) {
    const content = Buffer.from(text);
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write(content.length.toString(8).padStart(11, '0'), 124);
    header.write('        ', 148);
    header.write('0', 156);
    header.write('ustar', 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    blocks.push(header, content, Buffer.alloc((512 - (content.length % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
