import { TensorRtLlmLoadBalancer } from '@moestack/schemas';
import { Document, parse, visit } from 'yaml';
import { type EngineSlots, engineSlots } from './engine-slots.js';
import { badFile, limits } from './limits.js';
import { rowsOf } from './number-grid.js';
import { decodeText, parseSchema } from './parse-text.js';

/** A `moe_load_balancer` file of TensorRT-LLM. */
export interface TensorRtLlmBalancer {
  readonly slots: EngineSlots;
  /** Layers that the engine may rearrange in an iteration; 0 keeps the assignment. */
  readonly layerUpdatesPerIteration: number;
}

/** Reads the YAML of TensorRT-LLM's load balancer; layers carry their index in the model. */
export function readTensorRtLlm(bytes: Uint8Array): TensorRtLlmBalancer {
  const text = decodeText(bytes, 'a load balancer configuration', limits.yamlBytes);
  let data: unknown;
  try {
    data = parse(text, { maxAliasCount: 0, schema: 'core', prettyErrors: false, logLevel: 'error' });
  } catch (cause) {
    throw badFile(
      `expected YAML of a load balancer: ${(cause as Error).message.slice(0, 200)}`,
      undefined,
      'pass the file as the engine wrote it',
      cause,
    );
  }
  return tensorRtLlm(data);
}

/** Slots from the data of the file. */
export function tensorRtLlm(data: unknown): TensorRtLlmBalancer {
  const config = parseSchema(TensorRtLlmLoadBalancer, data, 'a load balancer of TensorRT-LLM');
  const assignments = Object.entries(config.initial_global_assignments ?? {})
    .map(([layer, slots]) => ({ layer: Number(layer), slots }))
    .sort((a, b) => a.layer - b.layer);
  if (assignments.length === 0) {
    throw badFile(
      'expected initial_global_assignments',
      undefined,
      'pass a file with an assignment; without one the engine makes its own',
    );
  }
  for (const { layer, slots } of assignments) {
    if (slots.length !== config.num_slots) {
      throw badFile(
        `expected ${config.num_slots} slots in layer ${layer}, got ${slots.length}`,
        slots.length,
        'assign an expert to every slot',
      );
    }
  }
  const layerIds = assignments.map(({ layer }) => layer);
  return {
    slots: engineSlots(
      assignments.flatMap(({ slots }) => slots),
      { layers: layerIds.length, layerIds },
    ),
    layerUpdatesPerIteration: config.layer_updates_per_iter ?? 0,
  };
}

/** YAML for `moe_load_balancer`; layers are written with their index in the model. */
export function writeTensorRtLlm(
  slots: EngineSlots,
  { layerUpdatesPerIteration = 0 }: { layerUpdatesPerIteration?: number } = {},
): Uint8Array {
  const { replicas, physicalToLogical, layerIds } = slots;
  const rows = rowsOf(physicalToLogical, replicas);
  // Keys of a Map stay numbers; those of an object would be quoted text.
  const document = new Document(
    new Map<string, unknown>([
      ['initial_global_assignments', new Map(layerIds.map((layer, row) => [layer, rows[row]]))],
      ['num_slots', replicas],
      ['layer_updates_per_iter', layerUpdatesPerIteration],
    ]),
  );
  visit(document, {
    Seq: (_, node) => {
      node.flow = true;
    },
  });
  return new TextEncoder().encode(document.toString({ lineWidth: 0, flowCollectionPadding: false }));
}
