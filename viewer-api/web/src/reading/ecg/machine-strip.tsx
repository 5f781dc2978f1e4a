import { RobotOutlined } from '@ant-design/icons';
import { Tag } from 'antd';
import type { Waveform } from '../../api/types';
import { useI18n } from '../../i18n';
import { filterText } from './filters';

const UNITS: Record<string, string> = { bpm: '/min', deg: '°' };

/** What the cart measured and claims: its own, never confirmed by anybody. */
export function MachineStrip({ wave }: { wave: Waveform }) {
  const { t, word } = useI18n();
  const filters = filterText(wave) ?? t('ecg.filterUnknown');
  return (
    <div className="machine">
      <div className="machine-row">
        <Tag color="orange" icon={<RobotOutlined />}>{t('ecg.measure.title')}</Tag>
        {wave.measurements.map(({ key, value, unit }) => (
          <span key={key}>{word('ecg.m', key)} <b>{value == null ? '—' : `${Math.round(value)}`}</b> {UNITS[unit] ?? unit}</span>
        ))}
        <span className="dim">{t('ecg.filters')} {filters}</span>
        {wave.leads.some((lead) => lead.derived) && <span className="dim">* {t('ecg.derived')}</span>}
      </div>
      <div className="machine-row">
        <Tag color="orange" icon={<RobotOutlined />}>{t('ecg.unconfirmed')}</Tag>
        <span>{wave.statements.length > 0 ? wave.statements.join('；') : t('ecg.noStatement')}</span>
      </div>
    </div>
  );
}
