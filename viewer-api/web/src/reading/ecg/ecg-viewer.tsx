import { AimOutlined, ClearOutlined, ColumnWidthOutlined, WarningOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Segmented, Spin, Tag } from 'antd';
import { useEffect, useRef, useState } from 'react';
import { api, instancePath, take } from '../../api/client';
import { problemText } from '../../api/problem';
import { useI18n } from '../../i18n';
import { useKeys } from '../../ui/keys';
import { Calibration, storedScale } from './calibration';
import { missingLeads } from './draw';
import { EcgView } from './ecg-view';
import { GAINS, type LayoutName, type Paper, type Reading, SPEEDS } from './layout';
import { filterText } from './filters';
import { MachineStrip } from './machine-strip';

const LAYOUTS: readonly LayoutName[] = ['3x4', '6x2', '12x1'];

interface Props {
  clinic: string;
  study_uid: string;
  hash: string;
}

export function EcgViewer({ clinic, study_uid, hash }: Props) {
  const { t, language } = useI18n();
  const [paper, setPaper] = useState<Paper>({ layout: '3x4', speed: 25, gain: 10 });
  const [calipers, setCalipers] = useState(true);
  const [march, setMarch] = useState(false);
  const [reading, setReading] = useState<Reading>();
  const [screen, setScreen] = useState(storedScale);
  const [fit, setFit] = useState(screen === undefined);
  const [calibrating, setCalibrating] = useState(false);
  const [room, setRoom] = useState(0);
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EcgView>(undefined);

  const answer = useQuery({
    queryKey: ['waveform', hash],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: ({ signal }) =>
      take(api.GET('/api/v1/studies/{clinic}/{study_uid}/instances/{hash}/waveform', { params: { path: { clinic, study_uid, hash } }, signal })),
  });
  const wave = answer.data;

  useEffect(() => {
    if (!host.current) return undefined;
    const ecg = new EcgView(host.current);
    ecg.onReading = setReading;
    view.current = ecg;
    const scroller = host.current.parentElement ?? host.current;
    const watch = new ResizeObserver(() => setRoom(scroller.clientWidth));
    watch.observe(scroller);
    return () => {
      watch.disconnect();
      ecg.dispose();
    };
  }, []);

  useEffect(() => {
    if (!wave || room === 0) return;
    const fitting = (room - 4) / EcgView.width(wave, paper);
    const scale = fit || screen === undefined ? Math.max(2, fitting) : screen;
    const filters = filterText(wave) ?? `${t('ecg.filters')} ${t('ecg.filterUnknown')}`;
    view.current?.show(wave, paper, scale, `${paper.speed} mm/s  ${paper.gain} mm/mV  ${filters}`);
  }, [wave, paper, room, fit, screen, t]);

  useEffect(() => {
    if (!view.current) return;
    Object.assign(view.current, { calipers, march });
    view.current.redraw();
  }, [calipers, march]);

  const gainBy = (step: number) => () => {
    const at = GAINS.indexOf(paper.gain as (typeof GAINS)[number]) + step;
    const gain = GAINS[at];
    if (gain !== undefined) setPaper({ ...paper, gain });
  };
  useKeys({
    Digit1: () => setPaper({ ...paper, layout: '3x4' }), Digit2: () => setPaper({ ...paper, layout: '6x2' }),
    Digit3: () => setPaper({ ...paper, layout: '12x1' }),
    Equal: gainBy(1), NumpadAdd: gainBy(1), Minus: gainBy(-1), NumpadSubtract: gainBy(-1),
    KeyC: () => setCalipers(!calipers), KeyM: () => setMarch(!march), Delete: () => view.current?.clear(),
  });

  const missing = wave ? missingLeads(wave) : [];
  return (
    <section className="viewer" aria-label={t('kind.ecg')} data-ecg={wave ? 'ready' : 'loading'}>
      <div className="toolbar" role="toolbar" aria-label={t('kind.ecg')}>
        <Segmented size="small" value={paper.layout} options={LAYOUTS.map((value) => ({ value, label: t(`ecg.layout.${value}`) }))} onChange={(layout) => setPaper({ ...paper, layout })} />
        <Segmented size="small" aria-label={t('ecg.speed')} value={paper.speed} options={SPEEDS.map((value) => ({ value, label: `${value} mm/s` }))} onChange={(speed) => setPaper({ ...paper, speed })} />
        <Segmented size="small" aria-label={t('ecg.gain')} value={paper.gain} options={GAINS.map((value) => ({ value, label: `${value} mm/mV` }))} onChange={(gain) => setPaper({ ...paper, gain })} />
        <i className="divider" />
        <Button size="small" type={calipers ? 'primary' : 'text'} aria-pressed={calipers} icon={<ColumnWidthOutlined />} onClick={() => setCalipers(!calipers)}>{t('ecg.calipers')}</Button>
        <Button size="small" type={march ? 'primary' : 'text'} aria-pressed={march} onClick={() => setMarch(!march)}>{t('ecg.march')}</Button>
        <Button size="small" type="text" icon={<ClearOutlined />} onClick={() => view.current?.clear()}>{t('ecg.clearCalipers')}</Button>
        {reading && (
          <output className="reading">
            {reading.ms.toFixed(0)} ms · {reading.bpm === undefined ? '—' : reading.bpm.toFixed(0)} bpm · {reading.mV.toFixed(2)} mV
          </output>
        )}
        <span className="fill" />
        {screen !== undefined && <Button size="small" type={fit ? 'primary' : 'text'} aria-pressed={fit} onClick={() => setFit(!fit)}>{t('ecg.fit')}</Button>}
        <Button size="small" type="text" icon={<AimOutlined />} onClick={() => setCalibrating(true)}>{t('ecg.calibrate')}</Button>
        <Tag color={screen !== undefined && !fit ? 'green' : 'orange'}>{t(screen !== undefined && !fit ? 'ecg.scaleTrue' : 'ecg.scaleRelative')}</Tag>
      </div>
      {missing.length > 0 && <Alert banner type="warning" title={t('ecg.missingLead', { leads: missing.join(' ') })} />}
      {wave?.warnings.map((warning) => <Alert key={warning} banner type="warning" icon={<WarningOutlined />} title={warning} />)}
      {answer.isError && (
        <Alert
          type="error" showIcon title={t('ecg.failed')} description={problemText(answer.error, t, language)}
          action={<Button href={`${instancePath({ clinic, study_uid, hash })}/file`}>{t('film.download')}</Button>}
        />
      )}
      <div className="ecg-scroll">
        {answer.isLoading && <Spin className="centre" description={t('ecg.loading')} />}
        <div ref={host} className="ecg-host" />
      </div>
      {wave && <MachineStrip wave={wave} />}
      <Calibration
        open={calibrating}
        onClose={(scale) => {
          setCalibrating(false);
          setScreen(scale);
          setFit(scale === undefined);
        }}
      />
    </section>
  );
}
