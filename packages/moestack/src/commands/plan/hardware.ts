import { basename, dirname, resolve } from 'node:path';
import {
  Accelerator,
  accelerators,
  deepSeekV3,
  type ModelShape,
  modelShapeFromConfig,
} from '@moestack/simulator';
import { badInput, configPath, readFileOf, readJson } from './read-file.js';

/** Which GPUs and which model. */
export interface HardwareOptions {
  readonly accelerator?: string;
  readonly model?: string;
  readonly price?: number;
}

/** The accelerator of a preset's name, or of a JSON file; `otherwise` where neither is named. */
export async function readAccelerator(
  { accelerator, price }: HardwareOptions,
  otherwise: Accelerator = accelerators.h800,
): Promise<Accelerator> {
  const found = accelerator === undefined ? otherwise : await namedAccelerator(accelerator);
  return price === undefined ? found : { ...found, usdPerGpuHour: price };
}

async function namedAccelerator(name: string): Promise<Accelerator> {
  const preset = Object.entries(accelerators).find(([key]) => key === name.toLowerCase());
  return preset === undefined ? acceleratorFile(name) : preset[1];
}

async function acceleratorFile(path: string): Promise<Accelerator> {
  if (!path.endsWith('.json')) {
    const names = Object.keys(accelerators).join(', ');
    throw badInput(`unknown accelerator ${path}`, path, `use ${names}, or a JSON file that describes one`);
  }
  return readFileOf(Accelerator, path, { what: 'accelerator' });
}

/** The shape of `deepseek-v3`, or of a Hugging Face directory or its `config.json`; `otherwise` where neither is named. */
export async function readModel({ model }: HardwareOptions, otherwise = deepSeekV3): Promise<ModelShape> {
  if (model === undefined) return otherwise;
  if (model.toLowerCase() === 'deepseek-v3') return deepSeekV3;
  const path = await configPath(model);
  return modelShapeFromConfig(
    await readJson(path, 'the configuration of the model'),
    basename(dirname(resolve(path))),
  );
}
