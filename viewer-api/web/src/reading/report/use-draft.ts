import { useEffect, useMemo, useRef, useState } from 'react';
import { api, take } from '../../api/client';
import { isProblem } from '../../api/problem';
import type { Draft, DraftText } from '../../api/types';
import { type Kept, keep, readKept } from './kept';
import { DraftSaver, type SaveState } from './saver';

const AUTOSAVE_MS = 5_000;

interface Options {
  item: number;
  person: string;
  epoch: number;
  /** Words to begin with where the county has no draft. */
  start: DraftText;
  /** What the county has. */
  draft: Draft | undefined;
  onError: (error: unknown) => void;
}

export const loadDraft = (item: number) =>
  take(api.GET('/api/v1/worklist/{item}/draft', { params: { path: { item } } })).then(({ draft }) => draft ?? undefined);

/** The words of a report as they are written: saved every five seconds, on leaving a field and on leaving the page. */
export function useDraft({ item, person, epoch, start, draft, onError }: Options) {
  const [text, setText] = useState<DraftText>(draft?.text ?? start);
  const [state, setState] = useState<SaveState>({ kind: 'clean', savedAtMs: draft?.saved_at_ms });
  const [other, setOther] = useState<Draft>();
  const [recovered, setRecovered] = useState<Kept | undefined>(() => {
    const kept = readKept(person, item);
    return kept && JSON.stringify(kept.text) !== JSON.stringify(draft?.text ?? start) ? kept : undefined;
  });
  const failed = useRef(onError);
  useEffect(() => {
    failed.current = onError;
  });

  const saver = useMemo(
    () =>
      new DraftSaver(
        {
          save: (words, replaces, at) =>
            take(api.PUT('/api/v1/worklist/{item}/draft', { params: { path: { item } }, body: { epoch: at, replaces, text: words } })),
          keep: (words) => keep(person, item, words),
          onState: (next) => {
            setState((before) =>
              next.kind === 'clean' && next.savedAtMs === undefined && before.kind === 'clean' ? before : next,
            );
            if (next.kind !== 'failed') return;
            failed.current(next.error);
            if (isProblem(next.error, 'STATE_CONFLICT')) void loadDraft(item).then(setOther, () => undefined);
          },
        },
        draft?.text ?? start, draft?.revision ?? 0, epoch,
      ),
    // One saver for the whole stay on the page: a new epoch is told to it below.
    // oxlint-disable-next-line react-hooks/exhaustive-deps
    [item, person],
  );
  useEffect(() => {
    saver.epoch = epoch;
  }, [saver, epoch]);

  useEffect(() => {
    const save = () => void saver.flush();
    const timer = setInterval(save, AUTOSAVE_MS);
    const hidden = () => document.visibilityState === 'hidden' && save();
    document.addEventListener('visibilitychange', hidden);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', hidden);
      save();
    };
  }, [saver]);

  const write = (next: DraftText) => {
    setText(next);
    saver.write(next);
  };
  return {
    text, state, saver, other, recovered, write,
    useRecovered: () => {
      if (recovered) write(recovered.text);
      setRecovered(undefined);
    },
    dropRecovered: () => {
      keep(person, item, undefined);
      setRecovered(undefined);
    },
    resolve: (theirs: boolean) => {
      if (!other) return;
      saver.rebase(other, theirs);
      setText(saver.words);
      setOther(undefined);
      void saver.flush();
    },
  };
}
