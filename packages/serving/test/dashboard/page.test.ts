/// <reference lib="dom" />
import { createHash } from 'node:crypto';
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { chromiumPath, isChromiumRequired, launch } from './browser.js';
import { startSample } from './sample-server.js';

type Sample = Awaited<ReturnType<typeof startSample>>;

const skips = chromiumPath === undefined && !isChromiumRequired;

describe.skipIf(skips)(
  'the page in Chromium (skipped where there is none, unless MOESTACK_REQUIRE names it)',
  () => {
    let browser: Browser;
    const open: Sample[] = [];

    beforeAll(async () => {
      browser = await launch();
    });
    afterAll(() => browser?.close());
    afterEach(async () => {
      for (const context of browser.contexts()) await context.close();
      for (const sample of open.splice(0)) {
        sample.dashboard.stop();
        await sample.server.close({ drainSeconds: 0 });
      }
    });

    async function start(options: Parameters<typeof startSample>[0] = {}): Promise<Sample> {
      const sample = await startSample({ history: 40, ...options });
      open.push(sample);
      return sample;
    }

    /** Opens the page; whatever the browser complains about fails the test that asks for it. */
    async function visit(
      sample: Sample,
      options: { width?: number; height?: number; colorScheme?: 'light' | 'dark' } = {},
    ): Promise<{ page: Page; complaints: string[] }> {
      const { width = 1440, height = 1000, colorScheme = 'light' } = options;
      const context = await browser.newContext({
        viewport: { width, height },
        colorScheme,
        reducedMotion: 'reduce',
      });
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(error.message));
      await page.goto(`${sample.server.url}/`);
      return { page, complaints };
    }

    async function live(sample: Sample, options: Parameters<typeof visit>[1] = {}) {
      const visited = await visit(sample, options);
      await visited.page.waitForSelector('#connection[data-state=live]');
      await sample.tick();
      await visited.page.waitForFunction(
        () => document.querySelector('#requests-rows')!.childElementCount > 5,
      );
      return visited;
    }

    const text = async (page: Page, selector: string) => (await page.locator(selector).textContent()) ?? '';

    /** Rules that are broken; axe is put in through the debugger, past the page's Content-Security-Policy. */
    async function violations(page: Page): Promise<string[]> {
      await page.evaluate(axe.source);
      const results = await page.evaluate(async () => {
        const { axe: runner } = globalThis as unknown as { axe: typeof import('axe-core') };
        return runner.run(document, {
          runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
        });
      });
      return results.violations.map(
        ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`,
      );
    }

    it('shows what the server says, second by second', async () => {
      const sample = await start();
      const { page, complaints } = await live(sample);
      expect(await text(page, '#model')).toMatch(/^letters · embedded · context 4096 · up/);
      expect(await text(page, '#generated')).toMatch(/^\d\.\dk$/);
      expect(await text(page, '#ttft')).toMatch(/ ms$/);
      expect(await text(page, '#attained')).toMatch(/^\d+ %$/);
      const curve = () => page.locator('#throughput-chart .curve').first().getAttribute('d');
      const before = await curve();
      await sample.tick();
      await expect.poll(curve).not.toBe(before);
      expect(await page.locator('#requests-rows tr').count()).toBe(12);
      expect(await page.locator('#timeline .span').count()).toBeGreaterThan(20);
      expect(await page.locator('#phases').getByRole('img').getAttribute('aria-label')).toMatch(
        /^A step of decode, .*Attention \d+ %, Dispatch/,
      );
      expect(await text(page, '#migration')).toContain('23 experts in 5 layers');
      expect(complaints).toEqual([]);
    });

    it.each(['light', 'dark'] as const)('breaks no accessibility rule in %s', async (colorScheme) => {
      const sample = await start({ workers: true });
      const { page } = await live(sample, { colorScheme });
      await page.fill('#chat-input', 'ab');
      await page.click('#chat-send');
      await page.waitForSelector('#chat-log[aria-busy=true]');
      await page.waitForSelector('#chat-log[aria-busy=false]');
      await page.locator('#chat-options summary').click();
      expect(await violations(page)).toEqual([]);
      await page.click('#experts-view');
      await page.click('#steps-view');
      expect(await violations(page)).toEqual([]);
    });

    it('fits a phone without sideways scrolling', async () => {
      const sample = await start();
      const { page } = await live(sample, { width: 360, height: 740 });
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect(overflow).toBeLessThanOrEqual(0);
      expect(await violations(page)).toEqual([]);
    });

    it('lets the keyboard read charts and heatmap', async () => {
      const sample = await start();
      const { page } = await live(sample);
      const plot = page.locator('#throughput-chart [role=slider]');
      await plot.focus();
      await page.keyboard.press('ArrowLeft');
      await page.keyboard.press('ArrowLeft');
      expect(await plot.getAttribute('aria-valuetext')).toMatch(/^2 seconds ago: generated .*, prompt /);
      await page.locator('#heatmap').focus();
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowRight');
      expect(await text(page, '#heatmap-cell')).toMatch(/^Layer 2, expert 1: .* times the mean, on rank \d/);
      expect(await text(page, '#ranks-title')).toContain('Placement of layer 2');
    });

    it('lists the heatmap as a table, by stage', async () => {
      const sample = await start();
      const { page } = await live(sample);
      await page.click('#experts-view');
      expect(await page.locator('#experts-plot').isVisible()).toBe(false);
      expect(await page.locator('#experts-rows tr').count()).toBe(12);
      const cells = await page.locator('#experts-rows tr').first().locator('th, td').allTextContents();
      expect(cells.join(' ')).toMatch(/^1 \d\.\d\d \d\.\d\d 0 \d+ \(\d\.\d×\)/);
      await page.selectOption('#experts-stage', 'decode');
      expect(await text(page, '#experts-note')).toContain('12 layers of 64 experts');
    });

    it('stands still when paused, and catches up', async () => {
      const sample = await start();
      const { page } = await live(sample);
      await page.click('#pause');
      const before = await text(page, '#totals');
      await sample.tick();
      await sample.tick();
      await page.waitForTimeout(150);
      expect(await text(page, '#totals')).toBe(before);
      await page.click('#pause');
      await sample.tick();
      await expect.poll(() => text(page, '#totals')).not.toBe(before);
    });

    it('streams an answer, stops one, and shows errors', async () => {
      const sample = await start();
      const { page } = await live(sample);
      await page.fill('#chat-input', 'ab');
      await page.keyboard.press('Enter');
      await page.waitForSelector('#chat-log[aria-busy=true]');
      await page.waitForSelector('#chat-log[aria-busy=false]');
      expect(await text(page, '#chat-log .assistant')).toMatch(/^cdefgh/);
      expect(await text(page, '#chat-figures')).toMatch(/first text after .* · \d+ tokens · \d+ tokens\/s/);
      await page.fill('#chat-input', 'a');
      await page.click('#chat-send');
      await page.waitForFunction(
        () => (document.querySelector('#chat-log')!.lastElementChild!.textContent ?? '').length > 2,
      );
      await page.click('#chat-stop');
      await expect.poll(() => text(page, '#chat-figures')).toBe('Stopped.');
      await page.fill('#chat-input', 'z'.repeat(2000));
      await page.click('#chat-send');
      await expect.poll(() => page.locator('#chat-log .error').allInnerTexts()).toHaveLength(1);
      expect(await text(page, '#chat-log .error')).toContain('the context holds 1024');
      await page.click('#chat-clear');
      expect(await page.locator('#chat-log .turn').count()).toBe(0);
    });

    it('says why requests fail, until they do not', async () => {
      const sample = await start();
      const { page } = await live(sample);
      const problem = page.locator('#problem');
      expect(await problem.isVisible()).toBe(false);
      sample.setHealth({ status: 'failed', detail: 'a rank was lost' });
      await sample.tick();
      await expect.poll(() => problem.textContent()).toBe('Requests fail: a rank was lost');
      expect(await violations(page)).toEqual([]);
      sample.setHealth({ status: 'ok' });
      await sample.tick();
      await expect.poll(() => problem.isVisible()).toBe(false);
    });

    it('says that the connection is lost', async () => {
      const sample = await start();
      const { page } = await live(sample);
      sample.dashboard.stop();
      await sample.server.close({ drainSeconds: 0 });
      await page.waitForSelector('#connection[data-state=lost]');
      expect(await text(page, '#connection-text')).toMatch(/next try in \d+ s/);
    });

    it('connects again by itself when the stream ends', async () => {
      const sample = await start();
      const { page } = await live(sample);
      const events = page.waitForRequest((request) => request.url().endsWith('/dashboard/events'));
      sample.dashboard.stop();
      await events;
      await page.waitForSelector('#connection[data-state=live]');
      await expect.poll(() => sample.dashboard.viewers).toBe(1);
    });

    it('asks for the admin key, and keeps out who does not know it', async () => {
      const sample = await start({ adminKeySha256: createHash('sha256').update('sesame').digest('hex') });
      const { page } = await visit(sample);
      await page.waitForSelector('#connection[data-state=locked]');
      expect(await page.locator('#main').isVisible()).toBe(false);
      expect(await violations(page)).toEqual([]);
      await page.fill('#key', 'wrong');
      const refused = page.waitForResponse((response) => response.status() === 401);
      await page.keyboard.press('Enter');
      await refused;
      await page.waitForSelector('#connection[data-state=locked]');
      await page.fill('#key', 'sesame');
      await page.keyboard.press('Enter');
      await page.waitForSelector('#connection[data-state=live]');
      expect(await page.locator('#main').isVisible()).toBe(true);
    });

    it('remembers the colours that were chosen', async () => {
      const sample = await start();
      const { page } = await live(sample);
      const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      // The heatmap is drawn by hand: a colour that it cannot read would be black.
      const darkest = () =>
        page.locator('#heatmap').evaluate((canvas: HTMLCanvasElement) => {
          const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
          let least = 765;
          for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] === 255) least = Math.min(least, data[i]! + data[i + 1]! + data[i + 2]!);
          return least;
        });
      const light = await background();
      expect(await darkest()).toBeGreaterThan(200);
      await page.click('#theme');
      await page.click('#theme');
      expect(await background()).not.toBe(light);
      expect(await darkest()).toBeGreaterThan(60);
      // Cold cells are bright on light paper and dark on dark paper.
      expect(await darkest()).toBeLessThan(200);
      await page.reload();
      expect(await text(page, '#theme')).toBe('Dark');
    });

    it('saves a trace', async () => {
      const sample = await start();
      const { page } = await live(sample);
      const download = page.waitForEvent('download');
      await page.click('#trace');
      expect((await download).suggestedFilename()).toBe('moestack-trace.json');
    });
  },
);
