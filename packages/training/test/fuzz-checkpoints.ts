import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MoestackError } from '@moestack/schemas/errors';
import { readCheckpoint, writeCheckpoint } from '../src/checkpoint.js';
import { mix } from '../src/corpus/word-stream.js';
import { Trainer } from '../src/trainer.js';
import type { FuzzResult } from './fuzz-inputs.js';
import { tinyConfig } from './tiny-config.js';

/**
 * Feeds damaged checkpoints to their reader and to the trainer that takes up what was read; in half of the cases the record
 * names the damaged tensors' own hash. Throws if one ends in anything but a state or a MoestackError.
 */
export async function fuzz(seed: number, runs: number): Promise<FuzzResult> {
  let random = seed;
  const below = (limit: number): number => {
    random = (random + 0x9e3779b9) >>> 0;
    return mix(random) % limit;
  };
  const config = tinyConfig();
  const trainer = new Trainer(config);
  const directory = await mkdtemp(join(tmpdir(), 'moestack-fuzz-'));
  let rejected = 0;
  try {
    const path = await writeCheckpoint(directory, config, trainer.state(), 1);
    const [record, tensors] = ['state.json', 'state.safetensors'].map((name) => join(path, name)) as [
      string,
      string,
    ];
    const [goodRecord, goodTensors] = [await readFile(record), await readFile(tensors)];
    for (let run = 0; run < runs; run++) {
      const isRecord = below(2) === 0;
      const whole = Buffer.from(isRecord ? goodRecord : goodTensors);
      // Most of the tensors' bytes are values, any of which is valid: edits go to their header.
      const reach = isRecord ? whole.length : Math.min(whole.length, 400);
      for (let edits = 1 + below(3); edits > 0; edits--) whole[below(reach)] = below(256);
      const bytes = below(4) === 0 ? whole.subarray(0, below(whole.length)) : whole;
      await writeFile(isRecord ? record : tensors, bytes);
      if (!isRecord) {
        const named = JSON.parse(goodRecord.toString()) as { tensors: object };
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        if (below(2) === 0) named.tensors = { sha256, bytes: bytes.length };
        await writeFile(record, JSON.stringify(named));
      }
      try {
        const state = await readCheckpoint(directory, config);
        if (state !== undefined) trainer.restore(state);
      } catch (error) {
        if (!MoestackError.isInstance(error)) throw error;
        rejected++;
      }
      await writeFile(isRecord ? record : tensors, isRecord ? goodRecord : goodTensors);
      await writeFile(record, goodRecord);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return { runs, rejected };
}
