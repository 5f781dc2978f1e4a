import { useQuery } from '@tanstack/react-query';
import { Result, Spin, Tag } from 'antd';
import { api, take } from '../api/client';
import { problemText } from '../api/problem';
import { useI18n } from '../i18n';
import { Images } from './images';
import { PatientHeader } from './patient-header';
import { History } from './report/history';

/** An earlier study in a window of its own: to look at only. */
export function PriorPage({ clinic, uid }: { clinic: string; uid: string }) {
  const { t, language } = useI18n();
  const answer = useQuery({
    queryKey: ['prior', clinic, uid],
    queryFn: ({ signal }) => take(api.GET('/api/v1/studies/{clinic}/{study_uid}', { params: { path: { clinic, study_uid: uid } }, signal })),
  });
  if (answer.isError) return <Result status="error" title={t('study.loadFailed')} subTitle={problemText(answer.error, t, language)} />;
  if (!answer.data) return <Spin className="centre" size="large" />;
  return (
    <div className="page">
      <PatientHeader study={answer.data}><Tag color="blue">{t('prior.label')} · {t('study.readOnly')}</Tag></PatientHeader>
      <div className="study">
        <Images study={answer.data} isPrior />
        <aside className="side"><History study={answer.data} /></aside>
      </div>
    </div>
  );
}
