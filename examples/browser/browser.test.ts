import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { build, type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('.', import.meta.url));
const executable = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);
const isRequired = (process.env['MOESTACK_REQUIRE'] ?? '').split(',').includes('chromium');

describe('the page', () => {
  if (executable === undefined) {
    it('needs Chromium, which is not installed', (context) => {
      if (isRequired) throw new Error('MOESTACK_REQUIRE names chromium, but it is not installed');
      context.skip();
    });
    return;
  }

  let outDir: string;
  let server: PreviewServer;
  let browser: Browser;
  let page: Page;
  const problems: string[] = [];

  beforeAll(async () => {
    outDir = await mkdtemp(join(tmpdir(), 'moestack-browser-'));
    const options = { root, logLevel: 'error', build: { outDir, emptyOutDir: true } } as const;
    await build(options);
    server = await preview({ ...options, preview: { port: 0, host: '127.0.0.1' } });
    const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
    browser = await chromium.launch({ executablePath: executable, args });
    page = await browser.newPage({ viewport: { width: 390, height: 800 }, colorScheme: 'dark' });
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
    page.on('request', (request) => {
      if (!request.url().startsWith(server.resolvedUrls!.local[0]!)) problems.push(request.url());
    });
    await page.goto(server.resolvedUrls!.local[0]!);
    await page.waitForSelector('#fp8 tbody tr');
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await rm(outDir, { recursive: true, force: true });
  });

  const set = (selector: string, value: string) =>
    page.$eval(
      selector,
      (input, next) => {
        (input as HTMLInputElement).value = next;
        input.dispatchEvent(new Event('input', { bubbles: true }));
      },
      value,
    );
  const busiest = async () =>
    Number(/busiest expert ([\d.]+)/.exec((await page.textContent('#routing .figures'))!)?.[1]);
  const fullest = async (plan: string) =>
    Number(/fullest (\d+)/.exec((await page.textContent(`[data-plan="${plan}"]`))!)?.[1]);

  it('routes: the bias evens a skewed load out', async () => {
    expect(await page.locator('#routing rect').count()).toBe(64);
    const before = await busiest();
    await set('input[name=steps]', '200');
    expect(before).toBeGreaterThan(2);
    expect(await busiest()).toBeLessThan(1.3);
    await set('input[name=steps]', '0');
    expect(await busiest()).toBe(before);
  });

  it('places: the planner is between the bound and EPLB', async () => {
    const bound = Number(/below (\d+)/.exec((await page.textContent('#placement .figures'))!)?.[1]);
    const [inOrder, eplb, optimal] = [
      await fullest('in order'),
      await fullest('EPLB'),
      await fullest('optimal'),
    ];
    expect(optimal).toBeGreaterThanOrEqual(bound - 1);
    expect(optimal).toBeLessThanOrEqual(eplb);
    expect(eplb).toBeLessThan(inOrder);
    await set('select[name=gpus]', '32');
    expect(await page.locator('[data-plan="optimal"] .cells span').count()).toBe(32);
  });

  it('rounds: codes of a number, and sums', async () => {
    await set('input[name=number]', '0.1');
    expect(await page.textContent('#fp8 tbody tr')).toContain('000111010.1015625');
    await set('input[name=number]', 'many');
    expect(await page.textContent('#fp8 tbody')).toContain('type a number');
    const [alone, promoted] = [...(await page.textContent('#fp8 .figures'))!.matchAll(/([\d.e-]+) %/g)].map(
      ([, figure]) => Number(figure),
    );
    expect(alone).toBeGreaterThan(10 * promoted!);
  });

  it('fits a phone, asks nobody, and stays small', async () => {
    await set('input[name=number]', '-0.123456789');
    await page.waitForSelector('#fp8 tbody tr:nth-child(10)');
    expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBe(0);
    expect(problems).toEqual([]);
    const bytes = readdirSync(join(outDir, 'assets')).map(
      (file) => statSync(join(outDir, 'assets', file)).size,
    );
    expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(1_000_000);
  });
});
