export {
  type CodePairOptions,
  type CodePairProgress,
  type CodePairRecord,
  writeCodePairs,
} from './code-pairs.js';
export {
  type RepositoryFunction,
  type RepositoryOptions,
  repositoryFunctions,
} from './repository-functions.js';
