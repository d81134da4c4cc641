import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BiasControllerState } from '@moestack/routing';
import { decodeSidecar, encodeSidecar, TrainCheckpoint, TrainConfig } from '@moestack/schemas';
import { TrainingError } from './errors.js';
import type { TrainerState } from './trainer.js';

const TENSORS = 'state.safetensors';
const RECORD = 'state.json';
const NAME = /^step-(\d{9})$/;
const PARTIAL = '.partial';

/**
 * Writes the state of a run as `directory/step-N`, whole or not at all, and removes older ones beyond `keep`, milestones aside.
 *
 * @returns the path of the checkpoint.
 */
export async function writeCheckpoint(
  directory: string,
  config: TrainConfig,
  state: TrainerState,
  keep: number,
): Promise<string> {
  const name = nameOf(state.step);
  const path = join(directory, name);
  const partial = path + PARTIAL;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  const tensors = serialise(state);
  const record: TrainCheckpoint = {
    schemaVersion: 1,
    config,
    step: state.step,
    biases: state.biases.map((bias: BiasControllerState) => ({ ...bias })),
    tensors: { sha256: sha256(tensors), bytes: tensors.length },
  };
  await writeDurably(join(partial, TENSORS), tensors);
  await writeDurably(join(partial, RECORD), new TextEncoder().encode(`${JSON.stringify(record)}\n`));
  await rm(path, { recursive: true, force: true });
  await rename(partial, path);
  await syncDirectory(directory);
  const milestones = new Set(config.checkpoint.milestones.map(nameOf));
  const names = (await checkpointNames(directory)).filter((old) => !milestones.has(old));
  for (const old of names.slice(keep)) await rm(join(directory, old), { recursive: true, force: true });
  return path;
}

/**
 * The newest complete checkpoint of a run, or that of a step; undefined without any. One whose tensors are damaged is
 * passed over.
 *
 * @throws {@link TrainingError} `training/bad-checkpoint` when all are damaged or the newest belongs to another
 * configuration.
 */
export async function readCheckpoint(
  directory: string,
  config: TrainConfig,
  options: { step?: number } = {},
): Promise<TrainerState | undefined> {
  const { step } = options;
  const names = (await checkpointNames(directory)).filter(
    (name) => step === undefined || name === nameOf(step),
  );
  let damage: unknown;
  for (const name of names) {
    const path = join(directory, name);
    let record: TrainCheckpoint;
    let state: TrainerState;
    try {
      record = TrainCheckpoint.parse(JSON.parse(await readFile(join(path, RECORD), 'utf8')));
      const tensors = await readFile(join(path, TENSORS));
      if (tensors.length !== record.tensors.bytes || sha256(tensors) !== record.tensors.sha256) {
        throw new Error(`${TENSORS} does not have the recorded hash`);
      }
      state = parse(tensors, record.step, record.biases);
    } catch (error) {
      damage ??= error;
      continue;
    }
    checkSame(record.config, config, path);
    return state;
  }
  if (names.length === 0) return undefined;
  throw new TrainingError({
    code: 'training/bad-checkpoint',
    message: `no checkpoint of ${directory} can be read`,
    value: directory,
    remedy: 'remove the directory to start anew',
    cause: damage,
  });
}

function nameOf(step: number): string {
  return `step-${String(step).padStart(9, '0')}`;
}

/** Names of complete checkpoints, newest first. */
async function checkpointNames(directory: string): Promise<string[]> {
  const entries = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return entries
    .filter((name) => NAME.test(name))
    .sort()
    .reverse();
}

/** What must stay the same for a resumed run to continue the same curve. */
function checkSame(saved: TrainConfig, config: TrainConfig, path: string): void {
  const relevant = ({ name: _, checkpoint: __, data: ___, ...rest }: TrainConfig): string =>
    JSON.stringify(rest);
  if (relevant(TrainConfig.parse(saved)) === relevant(TrainConfig.parse(config))) return;
  throw new TrainingError({
    code: 'training/bad-checkpoint',
    message: `the checkpoint ${path} belongs to another configuration`,
    value: path,
    remedy: 'use another directory, or the configuration that the run was started with',
  });
}

function serialise({ weights, firstMoments, secondMoments }: TrainerState): Uint8Array {
  return encodeSidecar({
    weights: { shape: [weights.length], data: weights },
    first_moments: { shape: [firstMoments.length], data: firstMoments },
    second_moments: { shape: [secondMoments.length], data: secondMoments },
  });
}

function parse(bytes: Uint8Array, step: number, biases: readonly BiasControllerState[]): TrainerState {
  // A Buffer's slices share memory, which the decoder does not expect.
  const tensors = decodeSidecar(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const weights = tensors.get('weights')?.data;
  const firstMoments = tensors.get('first_moments')?.data;
  const secondMoments = tensors.get('second_moments')?.data;
  if (
    !(weights instanceof Float32Array) ||
    !(firstMoments instanceof Uint16Array) ||
    !(secondMoments instanceof Uint16Array) ||
    firstMoments.length !== weights.length ||
    secondMoments.length !== weights.length
  ) {
    throw new Error(`${TENSORS} does not hold weights and moments`);
  }
  return { step, weights, firstMoments, secondMoments, biases };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, 'w');
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A rename is on disk when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  // Windows cannot open directories; there the rename itself is durable enough.
  const handle = await open(path, 'r').catch(() => undefined);
  if (handle === undefined) return;
  try {
    await handle.sync();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
  } finally {
    await handle.close();
  }
}
