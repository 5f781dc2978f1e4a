import { useQuery } from '@tanstack/react-query';
import { Empty } from 'antd';
import { useMemo } from 'react';
import { api, take } from '../api/client';
import type { PriorStudy, Study } from '../api/types';
import { useI18n } from '../i18n';
import { EcgViewer } from './ecg/ecg-viewer';
import type { Film } from './viewport/film-pane';
import { FilmViewer, hung } from './viewport/film-viewer';

/** Every frame of every film of a study; an old version of an image only where it is the only one. */
export function filmsOf(study: Study, prior: boolean): Film[] {
  const images = study.objects.filter((object) => object.rows > 0);
  const current = images.filter((object) => object.current);
  return hung(
    (current.length > 0 ? current : images).flatMap((object) =>
      Array.from({ length: Math.max(1, object.frames) }, (_, i) => ({
        clinic: study.row.clinic, study_uid: study.row.study_uid, object, frame: i + 1, patient: study.row.patient, t0_ms: study.row.t0_ms, prior,
      })),
    ),
  );
}

interface Props {
  study: Study;
  isPrior?: boolean;
  /** Hung beside, by the strict rule of identity only. */
  beside?: PriorStudy | undefined;
}

export function Images({ study, isPrior = false, beside }: Props) {
  const { t } = useI18n();
  const films = useMemo(() => filmsOf(study, isPrior), [study, isPrior]);
  const ecg = study.objects.find((object) => object.current && object.rows === 0 && object.kind !== 'document');
  const other = useQuery({
    queryKey: ['prior', beside?.clinic, beside?.study_uid],
    enabled: beside !== undefined,
    queryFn: ({ signal }) =>
      take(api.GET('/api/v1/studies/{clinic}/{study_uid}', { params: { path: { clinic: beside?.clinic ?? '', study_uid: beside?.study_uid ?? '' } }, signal })),
  });
  const hangs = beside && other.data ? filmsOf(other.data, true)[0] : undefined;
  if (films.length > 0) return <FilmViewer films={films} beside={hangs} />;
  if (ecg) return <EcgViewer clinic={study.row.clinic} study_uid={study.row.study_uid} hash={ecg.hash} />;
  return <section className="viewer"><Empty className="centre" image={Empty.PRESENTED_IMAGE_SIMPLE} description={t('study.noImages')} /></section>;
}
