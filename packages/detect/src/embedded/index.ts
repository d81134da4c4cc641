export {
  type EmbeddedModelOptions,
  type EmbeddedPairOptions,
  loadEmbeddedModel,
  loadEmbeddedPair,
} from './embedded-model.js';
