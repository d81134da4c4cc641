import { LinearPattern, type PatternMatch } from './linear-pattern.js';

/** Kinds of personal data that can be recognised by their form. Names and addresses cannot. */
export type PiiType =
  | 'AWS_ACCESS_KEY'
  | 'CREDIT_DEBIT_CARD_NUMBER'
  | 'EMAIL'
  | 'INTERNATIONAL_BANK_ACCOUNT_NUMBER'
  | 'IP_ADDRESS'
  | 'MAC_ADDRESS'
  | 'PHONE'
  | 'UK_NATIONAL_INSURANCE_NUMBER'
  | 'URL'
  | 'US_SOCIAL_SECURITY_NUMBER';

interface PiiKind {
  readonly patterns: readonly string[];
  /** What a pattern cannot say: check digits, ranges. */
  readonly accepts?: (match: string) => boolean;
}

const kinds: Readonly<Record<PiiType, PiiKind>> = {
  AWS_ACCESS_KEY: { patterns: ['\\b(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{16}\\b'] },
  CREDIT_DEBIT_CARD_NUMBER: {
    patterns: ['\\b\\d(?:[ -]?\\d){12,18}\\b'],
    accepts: isCardNumber,
  },
  EMAIL: {
    patterns: ["[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\\.){1,8}[A-Za-z]{2,24}\\b"],
  },
  INTERNATIONAL_BANK_ACCOUNT_NUMBER: {
    patterns: ['\\b[A-Z]{2}\\d{2}(?: ?[A-Z0-9]){11,30}\\b'],
    accepts: isIban,
  },
  IP_ADDRESS: {
    patterns: [
      '\\b\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}\\b',
      '(?:[0-9A-Fa-f]{1,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|:(?:[0-9A-Fa-f]{1,4}:?){0,6})',
      '[0-9A-Fa-f]{1,4}::(?:[0-9A-Fa-f]{1,4}:?){0,6}',
    ],
    accepts: isIpAddress,
  },
  MAC_ADDRESS: { patterns: ['\\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\\b'] },
  PHONE: {
    patterns: [
      '\\+\\d{1,3}(?:[ .()-]{0,2}\\d{1,4}){2,5}\\b',
      '\\(\\d{3}\\) ?\\d{3}[ .-]?\\d{4}\\b',
      '\\b\\d{3}[ .-]\\d{3}[ .-]\\d{4}\\b',
      '\\b0\\d{2,4}[ /-]\\d{3,4}[ -]?\\d{3,6}\\b',
    ],
    accepts: (match) => {
      const digits = match.replace(/\D/g, '').length;
      return digits >= 8 && digits <= 15;
    },
  },
  UK_NATIONAL_INSURANCE_NUMBER: {
    patterns: ['\\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\\d{2} ?\\d{2} ?\\d{2} ?[A-D]\\b'],
  },
  URL: { patterns: ['\\b[Hh][Tt][Tt][Pp][Ss]?://[^\\s<>"\']{3,}'] },
  US_SOCIAL_SECURITY_NUMBER: {
    patterns: ['\\b\\d{3}-\\d{2}-\\d{4}\\b', '\\b\\d{3} \\d{2} \\d{4}\\b'],
    accepts: (match) => {
      const [area, group, serial] = match.split(/[ -]/);
      return area !== '000' && area !== '666' && area! < '900' && group !== '00' && serial !== '0000';
    },
  },
};

/** Patterns that have been used. */
const compiled = new Map<string, LinearPattern>();

/** All kinds. */
export const piiTypes: readonly PiiType[] = Object.keys(kinds) as PiiType[];

/** A piece of personal data. */
export interface PiiMatch extends PatternMatch {
  readonly type: PiiType;
}

/** Finds personal data of one kind, from left to right. */
export function findPii(text: string, type: PiiType): PiiMatch[] {
  const { patterns, accepts }: PiiKind = kinds[type];
  const found: PiiMatch[] = [];
  for (const source of patterns) {
    const pattern = compiled.get(source) ?? new LinearPattern(source);
    compiled.set(source, pattern);
    for (const { start, end } of pattern.matches(text, { maximum: Infinity })) {
      const overlaps = found.some((other) => start < other.end && other.start < end);
      if (!overlaps && (accepts === undefined || accepts(text.slice(start, end))))
        found.push({ type, start, end });
    }
  }
  return found.sort((a, b) => a.start - b.start);
}

/** 13 to 19 digits with a right check digit (Luhn), not all the same. */
function isCardNumber(match: string): boolean {
  const digits = match.replace(/\D/g, '');
  if (digits.length < 13 || digits.length > 19 || /^(\d)\1*$/.test(digits)) return false;
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = Number(digits[digits.length - 1 - i]);
    sum += i % 2 === 0 ? digit : digit > 4 ? 2 * digit - 9 : 2 * digit;
  }
  return sum % 10 === 0;
}

/** ISO 13616: check digits by modulo 97. */
function isIban(match: string): boolean {
  const compact = match.replaceAll(' ', '');
  if (compact.length < 15 || compact.length > 34) return false;
  let rest = 0;
  for (const character of compact.slice(4) + compact.slice(0, 4)) {
    const value = Number.parseInt(character, 36);
    rest = (value < 10 ? rest * 10 + value : rest * 100 + value) % 97;
  }
  return rest === 1;
}

function isIpAddress(match: string): boolean {
  if (!match.includes(':')) return match.split('.').every((part) => Number(part) <= 255);
  const parts = match.split(':');
  return match.includes('::')
    ? parts.length <= 8 && match.indexOf('::') === match.lastIndexOf('::')
    : parts.length === 8;
}
