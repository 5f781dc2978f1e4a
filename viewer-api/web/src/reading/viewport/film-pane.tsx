import { Alert, Button, Progress as Bar, Tag } from 'antd';
import { useEffect, useRef, useState } from 'react';
import { instancePath } from '../../api/client';
import { problemText } from '../../api/problem';
import type { FrameInfo, Patient, StudyObject } from '../../api/types';
import { useI18n } from '../../i18n';
import { ageText, fullTime, sexText } from '../../ui/format';
import { personName } from '../../ui/names';
import type { Basis } from './geometry';
import { loadFilm, type Progress } from './load';
import type { Tool } from './pointer';
import { type ViewState, Viewport } from './viewport';

/** A film and whose it is: every pane says so itself, a prior too. */
export interface Film {
  clinic: string;
  study_uid: string;
  object: StudyObject;
  frame: number;
  patient: Patient;
  t0_ms: number;
  prior: boolean;
}

const BASES: readonly Basis[] = ['calibrated', 'pixel_spacing', 'detector', 'detector_corrected', 'unknown'];

interface Props {
  film: Film;
  tool: Tool;
  active: boolean;
  onActivate: (view: Viewport) => void;
}

export function FilmPane({ film, tool, active, onActivate }: Props) {
  const { t, word, language } = useI18n();
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<Viewport>(undefined);
  const [state, setState] = useState<ViewState>();
  const [info, setInfo] = useState<FrameInfo>();
  const [progress, setProgress] = useState<Progress>();
  const [error, setError] = useState<unknown>();
  const activate = useRef(onActivate);
  const { object, frame, clinic, study_uid } = film;
  const { hash, columns, rows } = object;

  useEffect(() => {
    if (!host.current) return undefined;
    const viewport = new Viewport(host.current);
    viewport.onChange = setState;
    view.current = viewport;
    activate.current(viewport);
    const stop = new AbortController();
    loadFilm(viewport, { clinic, study_uid, hash, columns, rows, frame }, stop.signal, setInfo, setProgress).catch(
      (problem: unknown) => stop.signal.aborted || setError(problem),
    );
    return () => {
      stop.abort();
      viewport.dispose();
      view.current = undefined;
    };
  }, [clinic, study_uid, hash, columns, rows, frame]);

  useEffect(() => {
    if (view.current) view.current.tool = tool;
  }, [tool]);

  useEffect(() => {
    if (!view.current) return;
    view.current.basisWords = Object.fromEntries(BASES.map((basis) => [basis, t(`film.basis.${basis}`)])) as Record<Basis, string>;
    view.current.setMarks(view.current.marks);
  }, [t]);

  const side = /^[LRB]$/.test(object.laterality) ? word('film.side', object.laterality) : '';
  const voi = state?.voi;
  const loaded = progress ? Math.floor((progress.received / Math.max(1, progress.total)) * 100) : 0;
  return (
    <div
      className={`film ${active ? 'active' : ''}`} data-final={state?.final ? 'yes' : 'no'}
      onPointerDown={() => view.current && onActivate(view.current)} onWheel={() => view.current && onActivate(view.current)}
    >
      <div ref={host} className="film-host" />
      <div className="film-text top-left">
        <b>{personName(film.patient.name) || '—'}</b> {sexText(film.patient.sex, t)} {ageText(film.patient, t, film.t0_ms)}
        <br />{film.patient.local_id}
        <br />{film.prior && <Tag color="blue">{t('prior.label')}</Tag>}{fullTime(film.t0_ms)}
      </div>
      <div className="film-text top-right">
        {side && <span className="film-side">{side}</span>}
        {object.body_part} {object.view_position}
        {object.frames > 1 && <><br />{t('film.frame', { n: frame, of: object.frames })}</>}
        {object.other_patient && <><br /><Tag color="red">{t('film.otherPatient')}</Tag></>}
        {!object.current && <><br /><Tag color="orange">{t('study.superseded')}</Tag></>}
        {state?.mirrored && <><br /><Tag color="orange">{t('film.mirrored')}</Tag></>}
        {info?.lossy && <><br />{t('film.lossy')}</>}
      </div>
      <div className="film-text bottom-left">
        {voi && !('lut' in voi) && `W ${Math.round(voi.width)} L ${Math.round(voi.center)}`}
        {voi && 'lut' in voi && `VOI LUT ${voi.lut.explanation}`}
        <br />{state && `${Math.round(state.zoom * 100)}%`}
      </div>
      <div className="film-text bottom-right">{info && t('film.scale', { basis: t(`film.basis.${state?.basis ?? 'unknown'}`) })}</div>
      {!state?.final && error === undefined && (
        <div className="film-progress" role="status">
          <Tag color="gold">{t('film.preview')}</Tag>
          {progress && t('film.loading', { percent: loaded, size: (progress.total / 1e6).toFixed(1) })}
          {progress && <Bar percent={loaded} showInfo={false} size="small" aria-label={t('film.preview')} />}
        </div>
      )}
      {error !== undefined && (
        <Alert
          className="film-error" type="error" showIcon title={t('film.failed')} description={problemText(error, t, language)}
          action={<Button href={`${instancePath({ clinic, study_uid, hash })}/file`}>{t('film.download')}</Button>}
        />
      )}
    </div>
  );
}
