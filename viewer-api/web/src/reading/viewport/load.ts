import { api, fetchBytes, instancePath, take } from '../../api/client';
import type { FrameInfo } from '../../api/types';
import { orderedWords } from './pixel';
import type { Viewport } from './viewport';

export interface FilmAddress {
  clinic: string;
  study_uid: string;
  hash: string;
  columns: number;
  rows: number;
  frame: number;
}

export interface Progress {
  received: number;
  total: number;
}

/** Preview first, marked as such by the page; the original samples after it. Both start at once. */
export async function loadFilm(
  view: Viewport, at: FilmAddress, signal: AbortSignal, onInfo: (info: FrameInfo) => void, onProgress: (progress: Progress) => void,
): Promise<void> {
  const base = instancePath(at);
  // A preview that fails is no harm: the original decides.
  const preview = picture(`${base}/preview`, signal)
    .then((bitmap) => (signal.aborted ? bitmap.close() : view.showPicture(bitmap, at.columns || bitmap.width, at.rows || bitmap.height)))
    .catch(() => undefined);
  const path = { clinic: at.clinic, study_uid: at.study_uid, hash: at.hash, frame: at.frame };
  const info = await take(
    api.GET('/api/v1/studies/{clinic}/{study_uid}/instances/{hash}/frames/{frame}', { params: { path }, signal }),
  );
  if (signal.aborted) return;
  onInfo(info);
  if (info.samples_per_pixel === 3) {
    await preview;
    const whole = await picture(`${base}/frames/${at.frame}/rendered`, signal);
    if (!signal.aborted) view.showPicture(whole, info.columns, info.rows, info);
    return;
  }
  const bytes = await fetchBytes(`${base}/frames/${at.frame}/raw`, signal, (received, total) => onProgress({ received, total }));
  if (signal.aborted) return;
  if (bytes.length !== info.rows * info.columns * 2) {
    throw new Error(`${bytes.length} bytes are not ${info.rows} × ${info.columns} samples`);
  }
  view.showFrame(info, orderedWords(bytes, info.signed));
}

async function picture(url: string, signal: AbortSignal): Promise<ImageBitmap> {
  const response = await fetch(url, { signal, credentials: 'same-origin' });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return createImageBitmap(await response.blob());
}
