import type { Waveform } from '../../api/types';

/** Filters as the cart states them; absent when it states none. Never claims that a record is unfiltered. */
export function filterText({ high_pass_hz: high, low_pass_hz: low, notch_hz: notch }: Waveform): string | undefined {
  if (high == null && low == null && notch == null) return undefined;
  const band = high == null && low == null ? '' : `${high ?? '?'}–${low ?? '?'} Hz`;
  return [band, notch == null ? '' : `${notch} Hz notch`].filter(Boolean).join(' · ');
}
