import { shellCommand } from './command-line.js';
import type { EngineCommand, NodeVariables, PoolLaunch } from './engine.js';

/** How a script is told which node it is on. */
export const scriptVariables: NodeVariables = { index: 'NODE_RANK', head: 'HEAD_ADDRESS' };

/** The script that every node of a unit runs. */
export function launchScript(launch: PoolLaunch, command: EngineCommand): string {
  const { role, pool, nodes, gpusPerNode } = launch;
  const environment = Object.entries(command.environment).map(([name, value]) => `export ${name}=${value}`);
  const of =
    nodes === 1 ? `one node with ${gpusPerNode} GPUs` : `${nodes} nodes with ${gpusPerNode} GPUs each`;
  return [
    '#!/usr/bin/env bash',
    `# A ${role} unit (${pool.units} in all) of ${launch.servedModelName}: ${of}, tp ${pool.tp}, dp ${pool.dp}, ep ${pool.ep}.`,
    ...(nodes === 1
      ? []
      : [
          `# Run it on every node: NODE_RANK=0..${nodes - 1} HEAD_ADDRESS=<address of node 0> ./launch-${role}.sh`,
        ]),
    'set -euo pipefail',
    ...(nodes === 1
      ? []
      : [`: "\${NODE_RANK:?index of this node, 0 to ${nodes - 1}}" "\${HEAD_ADDRESS:?address of node 0}"`]),
    ...environment,
    `exec ${shellCommand(command.program, command.flags)}`,
    '',
  ].join('\n');
}
