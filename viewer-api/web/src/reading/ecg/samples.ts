import type { EcgLead } from '../../api/types';

/** Millivolts of a stored sample; absent where the file says *missing*. */
export function millivolts(lead: EcgLead, sample: number): number | undefined {
  if (lead.missing != null && sample === lead.missing) return undefined;
  const value = sample * lead.scale + lead.offset;
  return lead.unit === 'mV' ? value : lead.unit === 'V' ? value * 1000 : value / 1000;
}

/** `aVR, augmented voltage, right`, `Lead I (Einthoven)`, `AVF` as the paper names them. */
export function leadName(label: string): string {
  const bare = label.split(/[,(]/)[0]!.replace(/^\s*lead\s+/i, '').trim();
  return /^av[rlf]$/i.test(bare) ? `aV${bare.at(-1)!.toUpperCase()}` : /^v\d|^i{1,3}$/i.test(bare) ? bare.toUpperCase() : bare;
}

/** Lowest and highest value of one pixel column; absent where nothing was recorded. */
export interface Span {
  min: number;
  max: number;
  /** Value of the first and last sample, to join the columns. */
  first: number;
  last: number;
}

/**
 * Samples of `from…to` s in `columns` pixel columns, each as its lowest and highest value: no peak is lost, however
 * narrow. Columns without a sample of their own are absent and joined by the line.
 */
export function spans(lead: EcgLead, from: number, to: number, columns: number): (Span | undefined)[] {
  const out: (Span | undefined)[] = Array.from({ length: columns });
  const perSecond = columns / (to - from);
  const first = Math.max(0, Math.ceil((from - lead.start_s) * lead.rate_hz));
  const end = Math.min(lead.samples.length, Math.ceil((to - lead.start_s) * lead.rate_hz));
  for (let i = first; i < end; i++) {
    const value = millivolts(lead, lead.samples[i]!);
    if (value === undefined) continue;
    const column = Math.min(columns - 1, Math.floor((i / lead.rate_hz + lead.start_s - from) * perSecond));
    const span = out[column];
    if (!span) out[column] = { min: value, max: value, first: value, last: value };
    else {
      span.min = Math.min(span.min, value);
      span.max = Math.max(span.max, value);
      span.last = value;
    }
  }
  return out;
}

/** Longest stretch without a sample that is still joined by a line: above it the trace is broken, not invented. */
export const LONGEST_JOIN_S = 0.02;
