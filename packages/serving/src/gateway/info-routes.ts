import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { ServedModel } from '../backend.js';
import { unknownModel } from '../errors.js';
import { ErrorBody, HealthBody, ModelBody, ModelList } from '../openai/responses.js';
import type { GatewayContext, GatewayEnv } from './options.js';

const jsonOf = <T extends z.ZodType>(schema: T, description: string) => ({
  content: { 'application/json': { schema } },
  description,
});

const listModels = createRoute({
  method: 'get',
  path: '/v1/models',
  summary: 'Models served here',
  responses: { 200: jsonOf(ModelList, 'The models') },
});

const getModel = createRoute({
  method: 'get',
  path: '/v1/models/{model}',
  summary: 'One model',
  request: { params: z.object({ model: z.string() }) },
  responses: { 200: jsonOf(ModelBody, 'The model'), 404: jsonOf(ErrorBody, 'No such model') },
});

const health = createRoute({
  method: 'get',
  path: '/health',
  summary: 'Whether requests are taken',
  responses: {
    200: jsonOf(HealthBody, 'Yes'),
    503: jsonOf(HealthBody, 'Shutting down, or the engine failed'),
  },
});

const metrics = createRoute({
  method: 'get',
  path: '/metrics',
  summary: 'Figures in the Prometheus text format',
  responses: { 200: { content: { 'text/plain': { schema: z.string() } }, description: 'The figures' } },
});

/** Adds what only reads: models, health, metrics, the API description. */
export function addInfoRoutes(app: OpenAPIHono<GatewayEnv>, context: GatewayContext): void {
  const { backends: backend } = context;
  const toBody = (card: ServedModel): z.infer<typeof ModelBody> => ({
    id: card.id,
    object: 'model',
    created: context.createdSeconds,
    owned_by: card.ownedBy ?? 'moestack',
    ...(card.contextTokens !== undefined && { max_model_len: card.contextTokens }),
  });
  app.openapi(listModels, async (c) =>
    c.json({ object: 'list' as const, data: (await backend.models()).map(toBody) }, 200),
  );
  app.openapi(getModel, async (c) => {
    const { model } = c.req.valid('param');
    const cards = await backend.models();
    const card = cards.find((candidate) => candidate.id === model);
    if (card === undefined) {
      throw unknownModel(
        model,
        cards.map((candidate) => candidate.id),
      );
    }
    return c.json(toBody(card), 200);
  });
  app.openapi(health, (c) => {
    if (context.isDraining()) return c.json({ status: 'draining' as const }, 503);
    const report = backend.health();
    return c.json(
      { status: report.status, ...(report.detail !== undefined && { detail: report.detail }) },
      report.status === 'ok' ? 200 : 503,
    );
  });
  app.openapi(metrics, async (c) =>
    c.text(await context.metrics.text(), 200, { 'content-type': context.metrics.contentType }),
  );
  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'moestack',
      version: '1',
      description:
        'OpenAI-compatible API over a mixture-of-experts model. Unknown request fields are ignored.',
    },
  });
}
