import { stringify } from 'yaml';
import { checkSchema } from './check-schema.js';
import { shellCommand } from './command-line.js';
import type { EngineCommand, NodeVariables, PoolLaunch } from './engine.js';
import { EngineService, FileMap, LeaderWorkerSet, type PodTemplate } from './leader-worker-set.js';

/** LeaderWorkerSet tells every container its index and the address of its leader. */
export const podVariables: NodeVariables = { index: 'LWS_WORKER_INDEX', head: 'LWS_LEADER_ADDRESS' };

/** Where pods find mounted files. */
export const mountFolder = '/etc/moestack';

/** What manifests need beside the command. */
export interface PodOptions {
  /** Name of the set, and of its service. */
  readonly name: string;
  readonly image: string;
  /** Claim that holds the weights, mounted at `modelPath`. */
  readonly modelClaim: string | undefined;
  /** Extended resource of the RDMA device plug-in. */
  readonly rdmaResource: string | undefined;
  /** Files by name, of the map called `<name>-files`. */
  readonly files: Readonly<Record<string, string>>;
  /** Whether every node answers requests, not the leader alone. */
  readonly servesOnEveryNode: boolean;
}

/** The set of pods that runs a pool, the service in front of it and the files it mounts, each checked against its schema. */
export function poolManifests(launch: PoolLaunch, command: EngineCommand, options: PodOptions): string[] {
  const { name, files, servesOnEveryNode } = options;
  const { role, pool, nodes, port } = launch;
  const leader = podTemplate(launch, command, options, true);
  const worker = servesOnEveryNode ? leader : podTemplate(launch, command, options, false);
  const set = checkSchema(
    LeaderWorkerSet,
    {
      apiVersion: 'leaderworkerset.x-k8s.io/v1',
      kind: 'LeaderWorkerSet',
      metadata: { name },
      spec: {
        replicas: pool.units,
        startupPolicy: 'LeaderCreated',
        // Expert locations are read at start: a new map reaches the pool unit by unit.
        rolloutStrategy: {
          type: 'RollingUpdate',
          rollingUpdateConfiguration: { maxUnavailable: 1, maxSurge: 0 },
        },
        leaderWorkerTemplate: {
          size: nodes,
          restartPolicy: 'RecreateGroupOnPodRestart',
          leaderTemplate: leader,
          workerTemplate: worker,
        },
      },
    },
    `LeaderWorkerSet of the ${role} pool`,
  );
  const service = checkSchema(
    EngineService,
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: `${name}-http` },
      spec: {
        selector: {
          'leaderworkerset.sigs.k8s.io/name': name,
          ...(servesOnEveryNode ? {} : { 'leaderworkerset.sigs.k8s.io/worker-index': '0' }),
        },
        ports: [{ name: 'http', protocol: 'TCP', port, targetPort: port }],
      },
    },
    `Service of the ${role} pool`,
  );
  const documents: unknown[] = [set, service];
  if (Object.keys(files).length > 0)
    documents.unshift(
      checkSchema(
        FileMap,
        { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `${name}-files` }, data: files },
        `files of the ${role} pool`,
      ),
    );
  return documents.map((document) => stringify(document, { lineWidth: 0 }));
}

function podTemplate(
  launch: PoolLaunch,
  command: EngineCommand,
  options: PodOptions,
  serves: boolean,
): PodTemplate {
  const { name, image, modelClaim, rdmaResource, files } = options;
  const { port, gpusPerNode, modelPath } = launch;
  const hasFiles = Object.keys(files).length > 0;
  // Kubernetes would expand $(...) itself; two dollar signs stand for one.
  const script = `exec ${shellCommand(command.program, command.flags)}`.replaceAll('$(', '$$$$(');
  return {
    metadata: { labels: { 'app.kubernetes.io/name': name } },
    spec: {
      // DeepEP reaches the network cards of the host.
      hostNetwork: true,
      hostIPC: true,
      dnsPolicy: 'ClusterFirstWithHostNet',
      containers: [
        {
          name: 'engine',
          image,
          command: ['bash', '-c', script],
          ...(Object.keys(command.environment).length === 0
            ? {}
            : { env: Object.entries(command.environment).map(([key, value]) => ({ name: key, value })) }),
          resources: {
            limits: {
              'nvidia.com/gpu': String(gpusPerNode),
              ...(rdmaResource === undefined ? {} : { [rdmaResource]: '1' }),
            },
          },
          // Registering memory with the network card pins it.
          securityContext: { capabilities: { add: ['IPC_LOCK'] } },
          ...(serves
            ? {
                ports: [{ name: 'http', containerPort: port }],
                readinessProbe: {
                  httpGet: { path: '/health', port },
                  initialDelaySeconds: 60,
                  periodSeconds: 10,
                  // Loading 689 GB of weights takes a while.
                  failureThreshold: 180,
                },
              }
            : {}),
          volumeMounts: [
            { name: 'shm', mountPath: '/dev/shm' },
            ...(hasFiles ? [{ name: 'files', mountPath: mountFolder, readOnly: true }] : []),
            ...(modelClaim === undefined ? [] : [{ name: 'model', mountPath: modelPath, readOnly: true }]),
          ],
        },
      ],
      volumes: [
        { name: 'shm', emptyDir: { medium: 'Memory' as const } },
        ...(hasFiles ? [{ name: 'files', configMap: { name: `${name}-files` } }] : []),
        ...(modelClaim === undefined
          ? []
          : [{ name: 'model', persistentVolumeClaim: { claimName: modelClaim, readOnly: true } }]),
      ],
    },
  };
}
