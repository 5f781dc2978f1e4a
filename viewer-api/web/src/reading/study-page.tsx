import { DisconnectOutlined, FieldTimeOutlined, WarningOutlined } from '@ant-design/icons';
import { useQueryClient } from '@tanstack/react-query';
import { Alert, App, Button, Result, Spin, Tabs } from 'antd';
import { useEffect, useRef, useState } from 'react';
import { useLocation } from 'wouter';
import { problemText } from '../api/problem';
import { useSession } from '../api/session';
import type { PriorStudy } from '../api/types';
import { useI18n } from '../i18n';
import { clockTime } from '../ui/format';
import { useKeys } from '../ui/keys';
import { useClaim } from '../worklist/use-claim';
import { useLive } from '../worklist/use-worklist';
import { Images } from './images';
import { PatientHeader } from './patient-header';
import { Priors } from './priors';
import { History } from './report/history';
import { ReportPanel } from './report/report-panel';
import { studyKey, useDesk, useStudy } from './use-desk';

export function StudyPage({ item }: { item: number }) {
  const { t, language } = useI18n();
  const { can } = useSession();
  const { message } = App.useApp();
  const cache = useQueryClient();
  const [, go] = useLocation();
  const answer = useStudy(item);
  const study = answer.data;
  const desk = useDesk(item, study);
  const next = useClaim().next;
  const [beside, setBeside] = useState<PriorStudy>();
  const refresh = () => void cache.invalidateQueries({ queryKey: studyKey(item) });
  const live = useLive((event) => event.work_item === item && refresh());
  const online = live !== 'lost';

  useEffect(() => {
    if (live === 'live') void cache.invalidateQueries({ queryKey: studyKey(item) });
  }, [live, cache, item]);

  const seen = useRef<string>(undefined);
  useEffect(() => {
    if (!study) return;
    if (seen.current !== undefined && seen.current !== study.revision) void message.warning(t('study.newObjects'), 6);
    seen.current = study.revision;
  }, [study, message, t]);

  const free = !desk.held && can('reader', 'reviewer');
  useKeys({ KeyN: () => free && online && void next(study?.row.kind) });

  if (answer.isError && !study) {
    return <Result status="error" title={t('study.loadFailed')} subTitle={problemText(answer.error, t, language)} extra={<Button onClick={() => go('/')}>{t('app.back')}</Button>} />;
  }
  if (!study) return <Spin className="centre" size="large" />;

  const { row } = study;
  const release = async () => {
    try {
      await desk.release();
      void message.success(t('study.released'));
      go('/');
    } catch (error) {
      desk.noticed(error);
      void message.error(problemText(error, t, language));
    }
  };
  const reclaim = () => desk.claim().catch((error: unknown) => void message.error(problemText(error, t, language)));
  const history = study.versions.length + study.critical.length;
  const priors = study.priors.length + study.suspected.length;
  return (
    <div className="page" data-study={item}>
      <PatientHeader
        study={study} onNext={free ? () => void next(row.kind) : undefined}
        onRelease={desk.held && !desk.lost ? () => void release() : undefined}
      >
        {desk.held && !desk.lost && row.lease && (
          <span className="dim"><FieldTimeOutlined /> {t('study.lease', { at: clockTime(row.lease.expires_at_ms) })}</span>
        )}
      </PatientHeader>
      {!online && <Alert banner type="warning" icon={<DisconnectOutlined />} title={t('error.unreachable')} />}
      {desk.lost && (
        <Alert banner type="error" title={t('study.leaseLost')} action={<Button size="small" type="primary" onClick={() => void reclaim()}>{t('study.reclaim')}</Button>} />
      )}
      {row.attention && <Alert banner type="warning" icon={<WarningOutlined />} title={t('study.attention', { what: row.attention })} />}
      {study.missing > 0 && (
        <Alert banner type="warning" title={t('study.missing', { n: study.missing, stored: row.objects_stored, announced: row.objects_announced })} />
      )}
      {study.objects.some((object) => object.conflict) && <Alert banner type="warning" title={t('study.conflict')} />}
      {study.objects.some((object) => object.current && object.other_patient) && <Alert banner type="error" title={t('study.otherPatient')} />}
      <div className="study">
        <Images study={study} beside={beside} />
        <aside className="side">
          <Tabs
            size="small" defaultActiveKey="report"
            items={[
              { key: 'report', label: t('study.tab.report'), children: <ReportPanel study={study} desk={desk} online={online} /> },
              {
                key: 'priors', label: <span className={study.suspected.length > 0 ? 'warn' : ''}>{t('study.tab.priors', { n: priors })}</span>,
                children: <Priors study={study} beside={beside} onBeside={setBeside} />,
              },
              { key: 'history', label: t('study.tab.history', { n: history }), children: <History study={study} /> },
            ]}
          />
        </aside>
      </div>
    </div>
  );
}
