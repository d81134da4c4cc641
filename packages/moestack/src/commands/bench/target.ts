import { tinyMoe } from '@moestack/tiny-moe';
import { LoadProgress } from '../../load-progress.js';
import type { Reporter } from '../../reporter.js';

/** The server under test. */
export interface BenchTarget {
  readonly url: string;
  readonly model: string | undefined;
  /** Of an embedded server. */
  readonly contextTokens: number | undefined;
  close(): Promise<void>;
}

/** Takes the server that is named, or starts an embedded one on a free port of loopback. */
export async function startTarget(
  { url, model }: { readonly url?: string; readonly model?: string },
  reporter: Reporter,
  signal: AbortSignal,
): Promise<BenchTarget> {
  if (url !== undefined) return { url, model, contextTokens: undefined, close: async () => undefined };
  const [{ createEmbeddedBackend }, { createGateway, listen }] = await Promise.all([
    import('@moestack/serving/embedded'),
    import('@moestack/serving'),
  ]);
  const progress = new LoadProgress(reporter);
  const backend = await createEmbeddedBackend({
    modelDirectory: model ?? tinyMoe,
    ...(model === undefined && { name: 'tiny-moe' }),
    onProgress: (report) => progress.update(report),
    signal,
  }).finally(() => progress.stop());
  try {
    const server = await listen(createGateway({ backend }), { port: 0 });
    const [card] = await backend.models();
    return {
      url: server.url,
      model: card?.id,
      contextTokens: card?.contextTokens,
      close: async () => {
        await server.close({ drainSeconds: 1 });
        await backend.close();
      },
    };
  } catch (error) {
    await backend.close();
    throw error;
  }
}
