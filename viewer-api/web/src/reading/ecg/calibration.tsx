import { Button, InputNumber, Modal } from 'antd';
import { useState } from 'react';
import { useI18n } from '../../i18n';

const STORED = 'relay.pixels-per-mm';
/** CSS pixels of the bar that is measured. */
const BAR_PX = 400;
/** Millimetres that a bar of that width can have on any real screen. */
const [SHORTEST_MM, LONGEST_MM] = [30, 400];

/** CSS pixels per millimetre of this screen, when somebody has measured it. */
export function storedScale(): number | undefined {
  const value = Number(localStorage.getItem(STORED));
  return Number.isFinite(value) && value >= BAR_PX / LONGEST_MM && value <= BAR_PX / SHORTEST_MM ? value : undefined;
}

/** Measures the screen once with a ruler: CSS millimetres are not real ones. */
export function Calibration({ open, onClose }: { open: boolean; onClose: (scale: number | undefined) => void }) {
  const { t } = useI18n();
  const [mm, setMm] = useState<number | null>(null);
  const save = () => {
    if (!mm) return;
    localStorage.setItem(STORED, String(BAR_PX / mm));
    onClose(BAR_PX / mm);
  };
  return (
    <Modal
      open={open} title={t('ecg.calibrate')} onCancel={() => onClose(storedScale())}
      footer={<Button type="primary" disabled={!mm} onClick={save}>{t('edit.save')}</Button>}
    >
      <p>{t('ecg.calibrateHelp')}</p>
      <div className="calibration-bar" style={{ width: BAR_PX }} />
      <label htmlFor="bar-mm">{t('ecg.calibrateLength')}</label>{' '}
      <InputNumber id="bar-mm" min={SHORTEST_MM} max={LONGEST_MM} step={0.5} value={mm} onChange={setMm} />
    </Modal>
  );
}
