import { readFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { CorpusSource } from '@moestack/schemas';
import { TrainingError } from '../errors.js';
import { END_OF_TEXT } from '../tokenizer/tokenizer-json.js';
import { decodeText, normalizeText, splitTitle, stripGutenberg } from './clean-text.js';
import { type FetchPackageOptions, fetchPackage } from './fetch-package.js';
import { readTarball } from './read-tarball.js';

/** A cleaned text and where it comes from. */
export interface SourceDocument {
  readonly id: string;
  readonly title: string;
  readonly source: string;
  readonly license: string;
  readonly text: string;
}

/** Options of {@link readSources}. */
export interface ReadSourcesOptions extends FetchPackageOptions {
  /** Where relative paths start. */
  readonly baseDirectory: string;
}

/**
 * Documents of all sources: sources in their order, files of a package by name.
 *
 * @throws TrainingError `training/bad-corpus` for sources without text, and what {@link fetchPackage} throws.
 */
export async function readSources(
  sources: readonly CorpusSource[],
  options: ReadSourcesOptions,
): Promise<SourceDocument[]> {
  const documents: SourceDocument[] = [];
  for (const source of sources) {
    const origin = source.type === 'npm' ? `${source.package}@${source.version}` : 'files';
    const found =
      source.type === 'npm' ? await packageFiles(source, options) : await ownFiles(source, options);
    for (const { path, bytes } of found) {
      const document = clean(decodeText(bytes), path, origin, source);
      if (document.text !== '') documents.push(document);
    }
  }
  if (documents.length === 0) throw noText('no source holds any text', undefined);
  return documents;
}

interface NamedBytes {
  readonly path: string;
  readonly bytes: Uint8Array;
}

async function packageFiles(
  source: Extract<CorpusSource, { type: 'npm' }>,
  options: ReadSourcesOptions,
): Promise<NamedBytes[]> {
  const { package: name, version, integrity, match } = source;
  let pattern: RegExp;
  try {
    pattern = new RegExp(match, 'u');
  } catch (cause) {
    throw noText(`expected a regular expression in match of ${name}, got ${match}`, match, cause);
  }
  const archive = await readTarball(await fetchPackage({ name, version, integrity }, options));
  const files: NamedBytes[] = [];
  for (const [entry, bytes] of archive) {
    const path = entry.replace(/^[^/]*\//, '');
    if (pattern.test(path)) files.push({ path, bytes });
  }
  if (files.length === 0) throw noText(`no file of ${name}@${version} matches ${match}`, match);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function ownFiles(
  source: Extract<CorpusSource, { type: 'files' }>,
  { baseDirectory }: ReadSourcesOptions,
): Promise<NamedBytes[]> {
  const files: NamedBytes[] = [];
  for (const path of source.paths) {
    try {
      files.push({ path: basename(path), bytes: await readFile(resolve(baseDirectory, path)) });
    } catch (cause) {
      throw noText(`cannot read ${resolve(baseDirectory, path)}`, path, cause);
    }
  }
  return files;
}

function clean(raw: string, path: string, origin: string, { format, license }: CorpusSource): SourceDocument {
  // What would read as the end of a text in tokenizers must not stand within one.
  const plain = raw.replaceAll(END_OF_TEXT, ' ');
  const id = `${origin}/${path}`;
  const base = { id, source: origin, license };
  if (format === 'plain') return { ...base, title: path, text: normalizeText(plain) };
  const { title, body } = splitTitle(stripGutenberg(plain));
  return { ...base, title: title ?? path, text: normalizeText(body) };
}

function noText(message: string, value: unknown, cause?: unknown): TrainingError {
  return new TrainingError({
    code: 'training/bad-corpus',
    message,
    value,
    remedy: 'correct the sources of the corpus configuration',
    ...(cause === undefined ? {} : { cause }),
  });
}
