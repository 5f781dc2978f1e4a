import { ArrowLeftOutlined, ForwardOutlined, PhoneOutlined, SwapOutlined, WarningOutlined } from '@ant-design/icons';
import { Button, Tag } from 'antd';
import type { ReactNode } from 'react';
import { useLocation } from 'wouter';
import type { Study } from '../api/types';
import { useI18n } from '../i18n';
import { ageText, birthText, fullTime, sexText } from '../ui/format';
import { examName, personName } from '../ui/names';
import { ClassTag, Countdown, StateTag } from '../ui/words';

interface Props {
  study: Study;
  onNext?: (() => void) | undefined;
  onRelease?: (() => void) | undefined;
  children?: ReactNode;
}

/** Whose study this is, how urgent, what the clinic said. */
export function PatientHeader({ study, onNext, onRelease, children }: Props) {
  const { t, language } = useI18n();
  const [, go] = useLocation();
  const { row, context } = study;
  const { patient } = row;
  return (
    <header className="patient">
      <div className="patient-row">
        <Button type="text" icon={<ArrowLeftOutlined />} aria-label={t('app.back')} title={t('app.back')} onClick={() => go('/')} />
        <strong className="patient-name">{personName(patient.name) || '—'}</strong>
        {patient.name_repaired && <Tag color="orange" icon={<WarningOutlined />}>{t('study.nameRepaired')}</Tag>}
        <span>{sexText(patient.sex, t)} · {ageText(patient, t, row.t0_ms)}</span>
        {patient.birth_date && <span className="dim">{t('study.birth', { date: birthText(patient.birth_date) })}</span>}
        <span className="dim">{t('study.localId')} {patient.local_id || '—'}</span>
        {patient.national_id && <span className="dim">{t('study.nationalId')} {patient.national_id}</span>}
        <span className="fill" />
        {children}
        <ClassTag urgency={row.class} />
        <StateTag row={row} />
        {row.state !== 'closed' && <Countdown row={row} />}
        {onRelease && <Button size="small" icon={<SwapOutlined />} onClick={onRelease}>{t('study.release')}</Button>}
        {onNext && <Button size="small" type="primary" icon={<ForwardOutlined />} onClick={onNext}>{t('list.next')} (N)</Button>}
      </div>
      <div className="patient-row second">
        <span><b>{examName(row.item, language === 'zh-CN') || t(`kind.${row.kind}`)}</b> · {row.clinic_name}</span>
        <span className={row.time_suspect ? 'warn' : 'dim'}>
          {t('study.examTime')} {fullTime(row.t0_ms)}{row.time_suspect && <> <WarningOutlined /> {t('study.timeSuspect')}</>}
        </span>
        <span className={context.complaint ? 'complaint' : 'dim'}>{context.complaint ? <>{t('study.complaint')}：<b>{context.complaint}</b></> : t('study.noComplaint')}</span>
        {context.doctor && <span className="dim">{t('study.doctor')} {context.doctor}</span>}
        {context.phone && <span className="dim"><PhoneOutlined /> {context.phone}</span>}
        {context.retake_of && <Tag color="blue">{t('study.retakeOf', { uid: context.retake_of })}</Tag>}
      </div>
    </header>
  );
}
