import { byId, setText } from './dom.js';

const names = ['system', 'light', 'dark'] as const;
const storageKey = 'moestack-theme';

/** Switches between the system's colours, light and dark. */
export function followTheme(onChange: () => void): void {
  const button = byId<HTMLButtonElement>('theme');
  let current = names.find((name) => name === read()) ?? 'system';
  const apply = () => {
    if (current === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = current;
    setText(button, `${current[0]!.toUpperCase()}${current.slice(1)}`);
    button.setAttribute('aria-label', `Colours: ${current}`);
    onChange();
  };
  button.addEventListener('click', () => {
    current = names[(names.indexOf(current) + 1) % names.length]!;
    try {
      localStorage.setItem(storageKey, current);
    } catch {
      // Storage may be off; the choice then holds for this page.
    }
    apply();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply);
  apply();
}

function read(): string | null {
  try {
    return localStorage.getItem(storageKey);
  } catch {
    return null;
  }
}
