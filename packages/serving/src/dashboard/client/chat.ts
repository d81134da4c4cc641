import { byId, element, setText } from './dom.js';
import { authorization, streamEvents } from './event-stream.js';
import { milliseconds } from './format.js';

interface Turn {
  readonly role: 'user' | 'assistant';
  content: string;
}

/** What {@link startChat} asks of the page. */
export interface ChatContext {
  /** The model to ask. */
  readonly model: () => string;
  /** The key that opened the page, used where no key of its own is given. */
  readonly key: () => string;
}

/** What a chunk of an answer may hold; anything may be missing. */
interface Chunk {
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string | null };
    readonly text?: string;
  }[];
  readonly usage?: { readonly completion_tokens?: number } | null;
  readonly error?: { readonly message?: string };
}

/** The box that talks to the model. */
export function startChat({ model, key }: ChatContext): void {
  const log = byId('chat-log');
  const form = byId<HTMLFormElement>('chat-form');
  const input = byId<HTMLTextAreaElement>('chat-input');
  const send = byId<HTMLButtonElement>('chat-send');
  const stop = byId<HTMLButtonElement>('chat-stop');
  const figures = byId('chat-figures');
  const empty = log.firstElementChild!;
  let turns: Turn[] = [];
  let running: AbortController | undefined;

  const bubble = (className: string, text: string) => {
    empty.remove();
    const added = element('p', { className: `turn ${className}`, text });
    log.append(added);
    log.scrollTop = log.scrollHeight;
    return added;
  };
  const setRunning = (controller: AbortController | undefined) => {
    // Hiding the focused button would lose the focus of whoever uses the keyboard.
    const hadFocus = document.activeElement === send || document.activeElement === stop;
    running = controller;
    send.disabled = controller !== undefined;
    stop.hidden = controller === undefined;
    // Screen readers read an answer once, when it is whole.
    log.setAttribute('aria-busy', String(controller !== undefined));
    if (hadFocus) (controller === undefined ? input : stop).focus();
  };
  const ask = async (text: string) => {
    const controller = new AbortController();
    setRunning(controller);
    const turn: Turn = { role: 'assistant', content: '' };
    turns.push({ role: 'user', content: text });
    bubble('user', text);
    const answer = bubble('assistant', '\u2026');
    const startMs = performance.now();
    let firstMs: number | undefined;
    let tokens: number | undefined;
    try {
      const ownKey = byId<HTMLInputElement>('chat-key').value;
      const { path, body } = request(text, turns, model());
      const response = await fetch(path, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...authorization(ownKey === '' ? key() : ownKey),
        },
        body: JSON.stringify(body),
        signal: controller.signal,
      });
      if (!response.ok) throw new Error(await errorText(response));
      for await (const { data } of streamEvents(response)) {
        if (data === '[DONE]') break;
        const chunk = JSON.parse(data) as Chunk;
        if (chunk.error !== undefined) throw new Error(chunk.error.message ?? 'the server ended the answer');
        const choice = chunk.choices?.[0];
        const piece = choice?.delta?.content ?? choice?.text ?? '';
        tokens = chunk.usage?.completion_tokens ?? tokens;
        if (piece === '') continue;
        firstMs ??= performance.now();
        turn.content += piece;
        const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
        setText(answer, turn.content);
        if (isAtEnd) log.scrollTop = log.scrollHeight;
      }
      if (turn.content === '') setText(answer, '(no text)');
      setText(figures, summary(startMs, firstMs, tokens));
    } catch (error) {
      if (turn.content === '') answer.remove();
      if (controller.signal.aborted) setText(figures, 'Stopped.');
      else bubble('error', error instanceof Error ? error.message : String(error));
    }
    if (turn.content === '') turns.pop();
    else turns.push(turn);
    setRunning(undefined);
  };

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text === '' || running !== undefined) return;
    input.value = '';
    void ask(text);
  });
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  stop.addEventListener('click', () => running?.abort());
  byId('chat-clear').addEventListener('click', () => {
    running?.abort();
    turns = [];
    log.replaceChildren(empty);
    setText(figures, '\u00a0');
    input.focus();
  });
}

function request(text: string, turns: readonly Turn[], model: string): { path: string; body: object } {
  const temperature = byId<HTMLInputElement>('chat-temperature').value;
  const tokens = Number(byId<HTMLInputElement>('chat-tokens').value);
  const common = {
    model,
    stream: true,
    stream_options: { include_usage: true },
    ...(temperature !== '' && { temperature: Number(temperature) }),
    ...(Number.isInteger(tokens) && tokens > 0 && { max_tokens: tokens }),
  };
  if (byId<HTMLSelectElement>('chat-mode').value === 'text') {
    return { path: 'v1/completions', body: { ...common, prompt: text } };
  }
  return { path: 'v1/chat/completions', body: { ...common, messages: turns } };
}

async function errorText(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { error?: { message?: string } };
    if (body.error?.message !== undefined) return body.error.message;
  } catch {
    // No JSON: the status says what there is to say.
  }
  return `the server answered with status ${response.status}`;
}

function summary(startMs: number, firstMs: number | undefined, tokens: number | undefined): string {
  if (firstMs === undefined) return '\u00a0';
  const parts = [`first text after ${milliseconds(firstMs - startMs)}`];
  const seconds = (performance.now() - firstMs) / 1000;
  if (tokens !== undefined) {
    parts.push(`${tokens} tokens`);
    if (tokens > 1 && seconds > 0) parts.push(`${((tokens - 1) / seconds).toFixed(0)} tokens/s`);
  }
  return parts.join(' · ');
}
