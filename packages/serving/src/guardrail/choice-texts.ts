/** Where the text of a choice stands, by field of its message or delta; `text` is the completion's own. */
export const textFields = ['content', 'reasoning_content', 'reasoning', 'refusal'] as const;
