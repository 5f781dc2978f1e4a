import { WarningOutlined } from '@ant-design/icons';
import type { TableColumnsType } from 'antd';
import type { Language, Translate } from '../i18n';
import { ageText, sexText, shortTime } from '../ui/format';
import { examName, personName } from '../ui/names';
import { ClassTag, Countdown, DeliveryTag, KindIcon, StateTag } from '../ui/words';
import type { ShownRow } from './hold';

/** Columns of the worklist. There is no sorting here: the county's order is the order. */
export function columns(t: Translate, language: Language, withDelivery: boolean): TableColumnsType<ShownRow> {
  return [
    { key: 'class', title: t('list.col.class'), width: 116, render: (_, { row }) => <ClassTag urgency={row.class} /> },
    {
      key: 'remaining', title: t('list.col.remaining'), width: 128,
      render: (_, { row }) => (row.state === 'closed' ? <span className="dim">{t('time.none')}</span> : <Countdown row={row} />),
    },
    {
      key: 'state', title: t('list.col.state'), width: 226,
      render: (_, { row, gone }) => (gone ? <span className="dim">{t('list.gone')}</span> : <StateTag row={row} />),
    },
    {
      key: 'name', title: t('list.col.name'), width: 132,
      render: (_, { row }) => (
        <span className="name">
          {personName(row.patient.name) || '—'}
          {row.patient.name_repaired && (
            <WarningOutlined className="warn" title={t('study.nameRepaired')} aria-label={t('study.nameRepaired')} />
          )}
        </span>
      ),
    },
    {
      key: 'sexAge', title: t('list.col.sexAge'), width: 104,
      render: (_, { row }) => `${sexText(row.patient.sex, t)} / ${ageText(row.patient, t, row.t0_ms)}`,
    },
    {
      key: 'item', title: t('list.col.item'), ellipsis: true,
      render: (_, { row }) => <span><KindIcon kind={row.kind} /> {examName(row.item, language === 'zh-CN') || t(`kind.${row.kind}`)}</span>,
    },
    { key: 'clinic', title: t('list.col.clinic'), ellipsis: true, render: (_, { row }) => row.clinic_name },
    {
      key: 'objects', title: t('list.col.objects'), width: 78,
      render: (_, { row }) => {
        const count = `${row.objects_stored}/${row.objects_announced}`;
        const values = { stored: row.objects_stored, announced: row.objects_announced };
        return row.completeness === 'complete'
          ? <span className="dim">{count}</span>
          : <span className="warn" title={t('list.stillArriving', values)}><WarningOutlined /> {count}</span>;
      },
    },
    ...(withDelivery
      ? [{
          key: 'delivery', title: t('list.col.delivery'), width: 100,
          render: (_: unknown, { row }: ShownRow) => (row.delivery ? <DeliveryTag delivery={row.delivery} /> : t('time.none')),
        }]
      : []),
    {
      key: 'arrived', title: t('list.col.arrived'), width: 108,
      render: (_, { row }) => (
        <span className={row.time_suspect ? 'warn' : ''} title={row.time_suspect ? t('study.timeSuspect') : undefined}>
          {row.time_suspect && <WarningOutlined />} {shortTime(row.arrived_at_ms)}
        </span>
      ),
    },
    { key: 'localId', title: t('list.col.localId'), width: 116, ellipsis: true, render: (_, { row }) => row.patient.local_id },
  ];
}
