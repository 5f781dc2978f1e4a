import {
  CheckCircleOutlined, CheckSquareOutlined, ClockCircleOutlined, EditOutlined, EyeOutlined, FileDoneOutlined,
  FireOutlined, HeartOutlined, MinusCircleOutlined, PictureOutlined, RollbackOutlined, SendOutlined, StopOutlined,
  SyncOutlined, TeamOutlined, ThunderboltOutlined, UserOutlined, WarningOutlined,
} from '@ant-design/icons';
import { Tag } from 'antd';
import type { ReactNode } from 'react';
import type { Delivery, Kind, UrgencyClass, WorkRow } from '../api/types';
import { awaitsAudit } from '../api/rules';
import { useI18n } from '../i18n';
import { remaining } from './countdown';
import { shortTime } from './format';
import { useNow } from './tick';

const CLASS_LOOK: Record<UrgencyClass, { color: string; icon: ReactNode }> = {
  green: { color: 'green', icon: <ThunderboltOutlined /> },
  emergency: { color: 'red', icon: <FireOutlined /> },
  routine: { color: 'default', icon: <MinusCircleOutlined /> },
  complex: { color: 'purple', icon: <TeamOutlined /> },
  screening: { color: 'cyan', icon: <CheckSquareOutlined /> },
};

/** Urgency: colour, word and icon. */
export function ClassTag({ urgency }: { urgency: UrgencyClass }) {
  const { t } = useI18n();
  const look = CLASS_LOOK[urgency];
  return <Tag color={look.color} icon={look.icon} variant={urgency === 'routine' ? 'outlined' : 'solid'}>{t(`class.${urgency}`)}</Tag>;
}

const STATE_LOOK: Record<WorkRow['state'] | 'awaitsAudit', { color: string; icon: ReactNode }> = {
  waiting: { color: 'default', icon: <ClockCircleOutlined /> },
  claimed: { color: 'blue', icon: <SyncOutlined /> },
  drafted: { color: 'gold', icon: <EditOutlined /> },
  awaitsAudit: { color: 'purple', icon: <EyeOutlined /> },
  signed: { color: 'green', icon: <FileDoneOutlined /> },
  audited: { color: 'green', icon: <CheckCircleOutlined /> },
  closed: { color: 'green', icon: <CheckSquareOutlined /> },
  withdrawn: { color: 'default', icon: <StopOutlined /> },
  retake_requested: { color: 'red', icon: <RollbackOutlined /> },
};

/** State of a work item, with the holder where there is one. */
export function StateTag({ row }: { row: WorkRow }) {
  const { t } = useI18n();
  const state = awaitsAudit(row) ? 'awaitsAudit' : row.state;
  const look = STATE_LOOK[state];
  return (
    <span className="state">
      <Tag color={look.color} icon={look.icon}>{t(`state.${state}`)}</Tag>
      {row.lease && <span className="holder"><UserOutlined /> {row.lease.holder_name}</span>}
      {row.attention && <Tag color="orange" icon={<WarningOutlined />}>{row.attention}</Tag>}
      {row.critical_open && <Tag color="red" icon={<WarningOutlined />}>{t('list.critical')}</Tag>}
    </span>
  );
}

const DELIVERY_LOOK: Record<Delivery, { color: string; icon: ReactNode }> = {
  queued: { color: 'default', icon: <ClockCircleOutlined /> },
  sent: { color: 'blue', icon: <SendOutlined /> },
  received: { color: 'green', icon: <CheckCircleOutlined /> },
  opened: { color: 'green', icon: <EyeOutlined /> },
};

export function DeliveryTag({ delivery }: { delivery: Delivery }) {
  const { t } = useI18n();
  const look = DELIVERY_LOOK[delivery];
  return <Tag color={look.color} icon={look.icon}>{t(`delivery.${delivery}`)}</Tag>;
}

export function KindIcon({ kind }: { kind: Kind }) {
  const { t } = useI18n();
  const label = t(`kind.${kind}`);
  return kind === 'ecg' ? <HeartOutlined aria-label={label} title={label} /> : <PictureOutlined aria-label={label} title={label} />;
}

/** Time left to the next limit, by the county's clock; over: red and counting up. */
export function Countdown({ row }: { row: WorkRow }) {
  const { t, word } = useI18n();
  const now = useNow();
  if (row.due_at_ms == null) return <span className="dim">{t('time.none')}</span>;
  const left = remaining(row.due_at_ms, now);
  const title = t('time.due', { stage: word('stage', row.due_stage ?? ''), at: shortTime(row.due_at_ms) });
  return (
    <span role="timer" className={`countdown ${left.level}`} title={title}>
      {left.level === 'over' ? <WarningOutlined /> : <ClockCircleOutlined />}{' '}
      {left.level === 'over' ? t('time.over', { time: left.clock }) : left.clock}
    </span>
  );
}
