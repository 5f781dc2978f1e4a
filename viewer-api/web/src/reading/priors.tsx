import { LinkOutlined, QuestionCircleOutlined } from '@ant-design/icons';
import { App, Button, Card, Empty, Tag } from 'antd';
import type { PriorStudy, Study } from '../api/types';
import { useI18n } from '../i18n';
import { ageText, birthText, fullTime, sexText } from '../ui/format';
import { examName, personName } from '../ui/names';
import { KindIcon } from '../ui/words';

interface Props {
  study: Study;
  beside: PriorStudy | undefined;
  onBeside: (prior: PriorStudy | undefined) => void;
}

const addressOf = (prior: PriorStudy): string => `/prior/${encodeURIComponent(prior.clinic)}/${encodeURIComponent(prior.study_uid)}`;

/** Earlier studies: of the same person, and of somebody who may be the same. Only the first may hang beside. */
export function Priors({ study, beside, onBeside }: Props) {
  const { t } = useI18n();
  const { modal } = App.useApp();
  const openSuspected = (prior: PriorStudy) =>
    modal.confirm({
      title: t('prior.suspected'), content: t('prior.openConfirm'), okText: t('prior.open'), cancelText: t('list.cancel'),
      onOk: () => void window.open(addressOf(prior), '_blank', 'noopener'),
    });
  if (study.priors.length + study.suspected.length === 0) {
    return <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t('prior.none')} />;
  }
  return (
    <div className="history">
      {study.priors.map((prior) => {
        const shown = beside?.study_uid === prior.study_uid && beside.clinic === prior.clinic;
        return (
          <Prior key={`${prior.clinic}/${prior.study_uid}`} prior={prior} tag={<Tag color="green" icon={<LinkOutlined />}>{t('prior.certain')}</Tag>}>
            {prior.kind === 'xray' && study.row.kind === 'xray' && (
              <Button size="small" type={shown ? 'default' : 'primary'} onClick={() => onBeside(shown ? undefined : prior)}>{t(shown ? 'prior.closeBeside' : 'prior.beside')}</Button>
            )}
            <Button size="small" href={addressOf(prior)} target="_blank">{t('prior.open')}</Button>
          </Prior>
        );
      })}
      {study.suspected.length > 0 && <p className="dim">{t('prior.suspectedHelp')}</p>}
      {study.suspected.map((prior) => (
        <Prior key={`${prior.clinic}/${prior.study_uid}`} prior={prior} tag={<Tag color="orange" icon={<QuestionCircleOutlined />}>{t('prior.suspected')}</Tag>}>
          <Button size="small" onClick={() => void openSuspected(prior)}>{t('prior.open')}</Button>
        </Prior>
      ))}
    </div>
  );
}

function Prior({ prior, tag, children }: { prior: PriorStudy; tag: React.ReactNode; children: React.ReactNode }) {
  const { t, language } = useI18n();
  const { patient } = prior;
  return (
    <Card size="small" title={<><KindIcon kind={prior.kind} /> {examName(prior.item, language === 'zh-CN')} · {fullTime(prior.t0_ms)}</>} extra={tag}>
      <p>{personName(patient.name)} · {sexText(patient.sex, t)} · {ageText(patient, t, prior.t0_ms)}{patient.birth_date && ` · ${birthText(patient.birth_date)}`} · {patient.local_id}</p>
      <p className="dim">{prior.clinic_name}</p>
      {children}
    </Card>
  );
}
