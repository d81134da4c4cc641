/**
 * Where the checkpoint lies: a directory in Hugging Face layout (config.json, model.safetensors, tokenizer.json,
 * tokenizer_config.json, generation_config.json), as a `file:` URL.
 */
export const tinyMoe: URL = new URL('../fp8/', import.meta.url);

/**
 * The same run after 2000 of its 5200 steps, with the same tokenizer: the second model of scores that compare two, such as
 * Binoculars.
 */
export const tinyMoeEarly: URL = new URL('../early/', import.meta.url);
