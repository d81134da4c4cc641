import { type LinearRole, type OperandRecipe, type Recipe, recipe } from '@moestack/fp8';
import type { TrainRecipe } from '@moestack/schemas';

/** The recipe of every linear layer of a run, by the place where the layer stands. */
export type Recipes = { readonly [R in LinearRole]: Recipe };

/** Builds the recipes that a run's configuration names. */
export function resolveRecipes(config: TrainRecipe): Recipes {
  const of = (role: LinearRole): Recipe => {
    const { promoteEvery } = config;
    const made = recipe(config.name, {
      role,
      accumulate: config.accumulate,
      ...(promoteEvery === undefined ? {} : { promoteEvery }),
    });
    return config.gradientBlocks ? withGradientBlocks(made) : made;
  };
  return {
    default: of('default'),
    afterAttention: of('afterAttention'),
    moeUp: of('moeUp'),
    moeDown: of('moeDown'),
  };
}

/** The variant that DeepSeek-V3's report (appendix B.2) found to diverge: activation gradients in 128x128 blocks. */
function withGradientBlocks(made: Recipe): Recipe {
  const gradient = blocksOf(made.dgrad.gradient);
  return { ...made, dgrad: { ...made.dgrad, gradient }, wgrad: { ...made.wgrad, gradient: 'dgrad' } };
}

function blocksOf(operand: OperandRecipe): OperandRecipe {
  if (operand.type !== 'scheme' || operand.scheme.kind !== 'tile') return operand;
  return { ...operand, scheme: { ...operand.scheme, tile: [128, 128] } };
}
