import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeHtml, htmlPage } from './html.js';

describe('escapeHtml', () => {
  it('leaves no markup, no attribute end and nothing that hides', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(escapeHtml(text)).not.toMatch(/[<>"']|&(?!#\d+;)|(?![\n\t])\p{Cc}|\p{Cf}|\p{Cs}/u);
      }),
      { seed: 71, numRuns: 500 },
    );
    expect(escapeHtml('<a href="x">&\'\u202e\n\t')).toBe('&#60;a href=&#34;x&#34;&#62;&#38;&#39;\ufffd\n\t');
  });
});

describe('htmlPage', () => {
  it('loads and runs nothing, and escapes its title', () => {
    const html = htmlPage({ title: '</title><script>', style: 'p{margin:0}', body: '<p>x</p>' });
    expect(html).toContain("content=\"default-src 'none'; style-src 'unsafe-inline'\"");
    expect(html).toContain('<title>&#60;/title&#62;&#60;script&#62;</title>');
    expect(html).toContain('<main>\n<p>x</p>\n</main>');
  });
});
