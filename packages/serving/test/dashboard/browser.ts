import { existsSync } from 'node:fs';
import type { Browser } from 'playwright-core';

const candidates = [
  process.env['CHROMIUM_PATH'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];

/** The browser on this machine, if there is one. */
export const chromiumPath: string | undefined = candidates.find(
  (path) => path !== undefined && existsSync(path),
);

/** Tests that need a browser must not be skipped. */
export const isChromiumRequired: boolean = (process.env['MOESTACK_REQUIRE'] ?? '')
  .split(',')
  .includes('chromium');

/** Starts the browser. */
export async function launch(): Promise<Browser> {
  if (chromiumPath === undefined) throw new Error('MOESTACK_REQUIRE names chromium, but there is none');
  const { chromium } = await import('playwright-core');
  return chromium.launch({
    executablePath: chromiumPath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
