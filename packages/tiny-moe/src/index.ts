/**
 * Where the checkpoint lies: a directory in Hugging Face layout (config.json, model.safetensors, tokenizer.json,
 * tokenizer_config.json, generation_config.json), as a `file:` URL.
 */
export const tinyMoe: URL = new URL('../fp8/', import.meta.url);
