import { z } from 'zod';

/** A name of a Kubernetes object: RFC 1123 label, short enough for what LeaderWorkerSet appends. */
const name = z
  .string()
  .max(46)
  .regex(/^[a-z]([a-z0-9-]*[a-z0-9])?$/);
const quantity = z.string().regex(/^\d+(\.\d+)?(m|k|Ki|Mi|Gi|Ti|M|G|T)?$/);
const labels = z.record(z.string().regex(/^([a-z0-9.-]+\/)?[\w.-]+$/), z.string().max(63));

const Container = z.strictObject({
  name,
  image: z.string().regex(/^[\w./:@-]+$/),
  command: z.array(z.string()).min(1),
  env: z.array(z.strictObject({ name: z.string().regex(/^[A-Za-z_]\w*$/), value: z.string() })).optional(),
  ports: z
    .array(z.strictObject({ name: name.optional(), containerPort: z.int().min(1).max(65_535) }))
    .optional(),
  resources: z.strictObject({ limits: z.record(z.string(), quantity) }),
  securityContext: z
    .strictObject({ capabilities: z.strictObject({ add: z.array(z.string()) }).optional() })
    .optional(),
  readinessProbe: z
    .strictObject({
      httpGet: z.strictObject({ path: z.string().startsWith('/'), port: z.int().min(1).max(65_535) }),
      initialDelaySeconds: z.int().min(0).optional(),
      periodSeconds: z.int().min(1).optional(),
      failureThreshold: z.int().min(1).optional(),
    })
    .optional(),
  volumeMounts: z
    .array(z.strictObject({ name, mountPath: z.string().startsWith('/'), readOnly: z.boolean().optional() }))
    .optional(),
});

const Volume = z.union([
  z.strictObject({
    name,
    emptyDir: z.strictObject({ medium: z.literal('Memory'), sizeLimit: quantity.optional() }),
  }),
  z.strictObject({ name, configMap: z.strictObject({ name }) }),
  z.strictObject({
    name,
    persistentVolumeClaim: z.strictObject({ claimName: name, readOnly: z.boolean().optional() }),
  }),
]);

/** A template of pods, as far as these manifests use it. */
export const PodTemplate = z.strictObject({
  metadata: z.strictObject({ labels: labels.optional() }).optional(),
  spec: z
    .strictObject({
      containers: z.array(Container).min(1),
      volumes: z.array(Volume).optional(),
      hostNetwork: z.boolean().optional(),
      hostIPC: z.boolean().optional(),
      dnsPolicy: z.enum(['ClusterFirst', 'ClusterFirstWithHostNet']).optional(),
    })
    .superRefine(({ containers, volumes = [] }, context) => {
      const known = new Set(volumes.map((volume) => volume.name));
      for (const { volumeMounts = [] } of containers)
        for (const mount of volumeMounts)
          if (!known.has(mount.name))
            context.addIssue({ code: 'custom', message: `expected a volume named ${mount.name}` });
    }),
});
export type PodTemplate = z.infer<typeof PodTemplate>;

/** `leaderworkerset.x-k8s.io/v1`: `replicas` groups of `size` pods, one node of an engine each. */
export const LeaderWorkerSet = z.strictObject({
  apiVersion: z.literal('leaderworkerset.x-k8s.io/v1'),
  kind: z.literal('LeaderWorkerSet'),
  metadata: z.strictObject({ name, labels: labels.optional() }),
  spec: z.strictObject({
    replicas: z
      .int()
      .min(0)
      .max(2 ** 31 - 1),
    startupPolicy: z.enum(['LeaderCreated', 'LeaderReady']).optional(),
    rolloutStrategy: z
      .strictObject({
        type: z.literal('RollingUpdate'),
        rollingUpdateConfiguration: z
          .strictObject({ maxUnavailable: z.int().min(0), maxSurge: z.int().min(0) })
          .refine(
            ({ maxUnavailable, maxSurge }) => maxUnavailable + maxSurge > 0,
            'expected one of them above 0',
          )
          .optional(),
      })
      .optional(),
    leaderWorkerTemplate: z.strictObject({
      size: z
        .int()
        .min(1)
        .max(2 ** 31 - 1),
      restartPolicy: z.enum(['RecreateGroupOnPodRestart', 'None']),
      leaderTemplate: PodTemplate.optional(),
      workerTemplate: PodTemplate,
    }),
  }),
});
export type LeaderWorkerSet = z.infer<typeof LeaderWorkerSet>;

/** The service in front of the leaders, or of all pods. */
export const EngineService = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Service'),
  metadata: z.strictObject({ name, labels: labels.optional() }),
  spec: z.strictObject({
    selector: labels,
    ports: z
      .array(
        z.strictObject({
          name,
          protocol: z.literal('TCP'),
          port: z.int().min(1).max(65_535),
          targetPort: z.int().min(1).max(65_535),
        }),
      )
      .min(1),
  }),
});
export type EngineService = z.infer<typeof EngineService>;

/** Files that pods mount; Kubernetes stores at most 1 MiB in one. */
export const FileMap = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('ConfigMap'),
  metadata: z.strictObject({ name, labels: labels.optional() }),
  data: z
    .record(z.string().regex(/^[\w.-]+$/), z.string())
    .refine(
      (data) => Object.values(data).reduce((sum, text) => sum + text.length, 0) < 1 << 20,
      'expected less than 1 MiB of files',
    ),
});
export type FileMap = z.infer<typeof FileMap>;
