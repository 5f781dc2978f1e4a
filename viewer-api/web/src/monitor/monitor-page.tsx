import { CheckCircleOutlined, DisconnectOutlined, WarningOutlined } from '@ant-design/icons';
import { useQuery } from '@tanstack/react-query';
import { Alert, Card, Col, Row, Statistic, Table, Tag } from 'antd';
import { BACKGROUND, api, take } from '../api/client';
import { problemText } from '../api/problem';
import type { ClinicFigure, Throughput } from '../api/types';
import { type Translate, useI18n } from '../i18n';
import { clockTime, durationText, shortTime } from '../ui/format';
import { Header } from '../ui/header';

const REFRESH_MS = 15_000;

/** A share is shown only where something was due: nothing due is not 0 %, and not 100 %. */
function share(on: number, due: number): string {
  return due === 0 ? '—' : `${((on / due) * 100).toFixed(1)}%`;
}

function LinkTag({ clinic, t }: { clinic: ClinicFigure; t: Translate }) {
  if (clinic.silent) return <Tag color="red" icon={<WarningOutlined />}>{t('monitor.silentTag')}</Tag>;
  return clinic.online
    ? <Tag color="green" icon={<CheckCircleOutlined />}>{t('monitor.online')}</Tag>
    : <Tag icon={<DisconnectOutlined />}>{t('monitor.offline')}</Tag>;
}

function Numbers({ data }: { data: Throughput }) {
  const { t } = useI18n();
  const silent = data.clinics.filter((clinic) => clinic.silent).length;
  const late = data.due > 0 && data.on_time < data.due;
  return (
    <Row gutter={[12, 12]} className="numbers">
      <Col span={4}><Card><Statistic title={t('monitor.received')} value={data.received} /></Card></Col>
      <Col span={4}><Card><Statistic title={t('monitor.reported')} value={data.reported} /></Card></Col>
      <Col span={4}><Card><Statistic title={t('monitor.returned')} value={data.returned} /></Card></Col>
      <Col span={4}>
        <Card>
          <Statistic title={t('monitor.onTime')} value={share(data.on_time, data.due)} classNames={{ content: late ? 'over' : '' }} />
          <p className="dim">{t('monitor.onTimeHelp', { on: data.on_time, due: data.due })}</p>
        </Card>
      </Col>
      <Col span={4}>
        <Card>
          <Statistic title={t('monitor.backlog')} value={data.backlog} />
          {data.backlog_oldest_ms != null && <p className="dim">{t('monitor.oldest', { age: durationText(data.backlog_oldest_ms, t) })}</p>}
        </Card>
      </Col>
      <Col span={4}>
        <Card><Statistic title={t('monitor.silent')} value={silent} classNames={{ content: silent > 0 ? 'over' : '' }} suffix={`/ ${data.clinics.length}`} /></Card>
      </Col>
    </Row>
  );
}

/** How long each stage took: half of the studies took no longer than the median, nine of ten no longer than the last column. */
function Stages({ stages }: { stages: Throughput['stages'] }) {
  const { t, word } = useI18n();
  const time = (ms: number | null | undefined) => (ms == null ? '—' : durationText(ms, t));
  return (
    <Table
      size="small" pagination={false} rowKey="stage" dataSource={stages}
      columns={[
        { title: t('monitor.stage'), render: (_, { stage }) => word('stage', stage) },
        { title: t('monitor.count'), dataIndex: 'count', align: 'right', width: 70 },
        { title: t('monitor.median'), align: 'right', render: (_, stage) => time(stage.median_ms) },
        { title: t('monitor.p90'), align: 'right', render: (_, stage) => time(stage.p90_ms) },
      ]}
    />
  );
}

const stagesOf = (clinic: ClinicFigure) => <Stages stages={clinic.stages} />;

export function MonitorPage() {
  const { t, language } = useI18n();
  const answer = useQuery({
    queryKey: ['throughput'],
    queryFn: ({ signal }) => take(api.GET('/api/v1/throughput', { headers: BACKGROUND, signal })),
    refetchInterval: REFRESH_MS,
  });
  const data = answer.data;
  const time = (ms: number | null | undefined) => (ms == null ? '—' : durationText(ms, t));
  return (
    <div className="page">
      <Header>{data && <span className="dim">{t('monitor.updated', { at: clockTime(data.at_ms) })} · {t('monitor.noNames')}</span>}</Header>
      <main className="monitor">
        {answer.isError && <Alert type="error" showIcon title={problemText(answer.error, t, language)} />}
        {data && (
          <>
            <h2>{t('monitor.title')}</h2>
            <Numbers data={data} />
            <div className="monitor-tables">
              <Card title={t('monitor.clinics')}>
                <Table
                  size="small" pagination={false} rowKey="clinic" dataSource={data.clinics}
                  expandable={{ expandedRowRender: stagesOf, rowExpandable: (clinic) => clinic.stages.some(({ count }) => count > 0) }}
                  columns={[
                    { title: t('monitor.clinic'), dataIndex: 'name', sorter: (a, b) => a.name.localeCompare(b.name, 'zh-Hans-CN') },
                    { title: t('monitor.link'), width: 100, render: (_, clinic) => <LinkTag clinic={clinic} t={t} /> },
                    { title: t('monitor.heard'), width: 120, render: (_, { heard_at_ms }) => (heard_at_ms == null ? t('monitor.never') : shortTime(heard_at_ms)) },
                    { title: t('monitor.received'), dataIndex: 'received', align: 'right', width: 100, sorter: (a, b) => a.received - b.received },
                    { title: t('monitor.reported'), dataIndex: 'reported', align: 'right', width: 90, sorter: (a, b) => a.reported - b.reported },
                    { title: t('monitor.returned'), dataIndex: 'returned', align: 'right', width: 90, sorter: (a, b) => a.returned - b.returned },
                    { title: t('monitor.onTime'), align: 'right', width: 110, render: (_, { on_time, due }) => <span className={on_time < due ? 'over' : ''}>{share(on_time, due)}</span> },
                    { title: t('monitor.backlog'), dataIndex: 'backlog', align: 'right', width: 100, sorter: (a, b) => a.backlog - b.backlog },
                    { title: t('monitor.age'), align: 'right', width: 110, sorter: (a, b) => (a.backlog_oldest_ms ?? -1) - (b.backlog_oldest_ms ?? -1), render: (_, clinic) => time(clinic.backlog_oldest_ms) },
                  ]}
                />
              </Card>
              <Card title={t('monitor.stages')}>
                <Stages stages={data.stages} />
              </Card>
            </div>
          </>
        )}
      </main>
    </div>
  );
}
