import { DisconnectOutlined, ForwardOutlined, SearchOutlined } from '@ant-design/icons';
import { Alert, Badge, Button, Empty, Input, Menu, Segmented, Table } from 'antd';
import { type KeyboardEvent, useMemo, useState } from 'react';
import { problemText } from '../api/problem';
import { useSession } from '../api/session';
import type { Kind, WorkRow } from '../api/types';
import { useI18n } from '../i18n';
import { clockTime } from '../ui/format';
import { Header } from '../ui/header';
import { useKeys } from '../ui/keys';
import { columns } from './columns';
import { FILTERS, type Filter, belongs, matches } from './filters';
import { inOrder, keepOrder, type ShownRow } from './hold';
import { useClaim } from './use-claim';
import { useLive, useRows } from './use-worklist';

const NOTHING: WorkRow[] = [];

export function WorklistPage() {
  const { t, language } = useI18n();
  const { me, can } = useSession();
  const [filter, setFilter] = useState<Filter>('open');
  const [kind, setKind] = useState<Kind>();
  const [text, setText] = useState('');
  const live = useLive();
  const open = useRows('open');
  const answer = useRows(filter);
  const claim = useClaim();
  const [held, setHeld] = useState<{ view: string; rows: ShownRow[] }>();

  const fresh = useMemo(
    () => (me ? (answer.data?.items ?? NOTHING).filter((row) => belongs(filter, row, me) && matches(row, text, kind)) : NOTHING),
    [answer.data, filter, kind, me, text],
  );
  const view = `${filter}/${kind ?? ''}/${text}`;
  const kept = held?.view === view ? keepOrder(held.rows, fresh) : { rows: inOrder(fresh), waiting: 0 };
  const hold = () => held?.view === view || setHeld({ view, rows: kept.rows });
  const letGo = () => setHeld(undefined);

  const counts = useMemo(() => {
    const rows = open.data?.items ?? NOTHING;
    const count = (which: Filter) => (me ? rows.filter((row) => belongs(which, row, me) && (!kind || row.kind === kind)).length : 0);
    return { open: count('open'), mine: count('mine'), audit: count('audit'), retake: count('retake'), critical: count('critical') };
  }, [open.data, me, kind]);

  const online = live !== 'lost';
  const reads = can('reader', 'reviewer');
  useKeys({ KeyN: () => void (online && reads && claim.next(kind)) });
  const at = answer.dataUpdatedAt ? clockTime(answer.dataUpdatedAt) : '—';

  const onRowKey = (event: KeyboardEvent<HTMLElement>, row: WorkRow) => {
    if (event.nativeEvent.isComposing || event.target !== event.currentTarget) return;
    const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' } as const;
    if (event.code === 'Enter' || event.code === 'NumpadEnter') void claim.open(row);
    else if (event.code === 'ArrowDown' || event.code === 'ArrowUp') {
      const sibling = event.currentTarget[step[event.code]];
      if (sibling instanceof HTMLElement && sibling.tabIndex === 0) sibling.focus();
    } else return;
    event.preventDefault();
  };

  return (
    <div className="page">
      <Header>
        <Input
          allowClear prefix={<SearchOutlined />} className="search" placeholder={t('list.search')} aria-label={t('list.search')}
          value={text} onChange={(event) => setText(event.target.value)}
        />
      </Header>
      {live === 'lost' && <Alert banner type="warning" icon={<DisconnectOutlined />} title={t('list.lost', { at })} />}
      <div className="worklist">
        <Menu
          className="rail" selectedKeys={[filter]} onClick={({ key }) => setFilter(key as Filter)}
          items={FILTERS.map((key) => ({
            key,
            label: (
              <span className="rail-item">
                {t(`list.${key}`)}
                {key !== 'done' && (
                  <Badge count={counts[key]} showZero color={key === 'critical' && counts.critical > 0 ? '#cf1322' : '#8c8c8c'} overflowCount={999} />
                )}
              </span>
            ),
          }))}
        />
        <main className="list">
          <div className="list-bar">
            <Segmented
              value={kind ?? 'all'} onChange={(value) => setKind(value === 'all' ? undefined : (value as Kind))}
              options={[
                { value: 'all', label: t('list.allKinds') },
                { value: 'xray', label: t('kind.xray') },
                { value: 'ecg', label: t('kind.ecg') },
              ]}
            />
            {reads && (
              <Button type="primary" icon={<ForwardOutlined />} disabled={!online} onClick={() => void claim.next(kind)}>{t('list.next')} (N)</Button>
            )}
            {kept.waiting > 0 && (
              <Button size="small" color="orange" variant="solid" onClick={letGo}>{t('list.newRows', { n: kept.waiting })}</Button>
            )}
            <span className="fill" />
            <span className="dim" aria-live="polite">{live === 'live' ? t('list.live', { at }) : live === 'connecting' ? t('list.connecting') : ''}</span>
          </div>
          {answer.data && answer.data.damaged > 0 && <Alert banner type="error" title={t('list.damaged', { n: answer.data.damaged })} />}
          {answer.data && answer.data.total > answer.data.items.length + answer.data.damaged && (
            <Alert banner type="warning" title={t('list.cut', { shown: answer.data.items.length, total: answer.data.total })} />
          )}
          {answer.isError && <Alert type="error" showIcon title={problemText(answer.error, t, language)} />}
          <div onMouseEnter={hold} onMouseLeave={letGo} onFocus={hold} onBlur={letGo}>
            <Table<ShownRow>
              size="small" pagination={false} rowKey={({ row }) => row.id} tableLayout="fixed"
              dataSource={kept.rows} columns={columns(t, language, filter === 'done' || filter === 'mine')}
              locale={{ emptyText: answer.isLoading ? ' ' : <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t('list.empty', { filter: t(`list.${filter}`) })} /> }}
              onRow={({ row, gone }) => ({
                tabIndex: 0,
                'data-item': row.id,
                className: `row ${row.class}${gone ? ' gone' : ''}`,
                onDoubleClick: () => void (online && claim.open(row)),
                onKeyDown: (event) => online && onRowKey(event, row),
              })}
            />
          </div>
          <p className="dim hint">{t('list.hint')}</p>
        </main>
      </div>
    </div>
  );
}
