import { AlertOutlined, FilePdfOutlined, SafetyCertificateOutlined } from '@ant-design/icons';
import { Alert, Button, Card, Empty, Tag } from 'antd';
import type { Critical, ReportVersion, Study } from '../../api/types';
import { useI18n } from '../../i18n';
import { shortTime } from '../../ui/format';
import { DeliveryTag } from '../../ui/words';

const partUrl = ({ report, version }: ReportVersion, part: string): string =>
  `/api/v1/reports/${encodeURIComponent(report)}/versions/${version}/${part}`;

/** Signed versions with what became of each, and critical notices with who read them back. */
export function History({ study }: { study: Study }) {
  const { t } = useI18n();
  if (study.versions.length + study.critical.length === 0) {
    return <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t('version.none')} />;
  }
  return (
    <div className="history">
      {study.critical.map((notice) => <Notice key={`${notice.code}/${notice.raised_at_ms}`} notice={notice} />)}
      {[...study.versions].reverse().map((version) => <Version key={version.version} version={version} stale={version.revision !== study.revision} />)}
    </div>
  );
}

/** A version whose stored rows are not what was signed: what is shown is the signed package's, or nothing. */
export function Differs({ version }: { version: ReportVersion }) {
  const { t } = useI18n();
  if (version.differs == null) return null;
  const proven = version.text.findings !== '';
  return <Alert className="gap" type="error" showIcon title={t(proven ? 'version.differs' : 'version.unproven', { place: version.differs })} />;
}

function Version({ version, stale }: { version: ReportVersion; stale: boolean }) {
  const { t } = useI18n();
  const { text, voided_at_ms: voidedAt } = version;
  const words = voidedAt == null ? 'words' : 'words withdrawn';
  return (
    <Card
      size="small" title={t('version.title', { kind: t(`report.${version.kind}`), version: version.paper_version })}
      extra={<>{voidedAt != null && <Tag color="red">{t('version.voidedShort')}</Tag>}<DeliveryTag delivery={version.delivery} /></>}
    >
      <Differs version={version} />
      {voidedAt != null && <p className="over">{t('version.voided', { at: shortTime(voidedAt), name: version.voided_by ?? '' })}</p>}
      <p className="dim">
        {t('version.author', { name: version.author_name, at: shortTime(version.signed_at_ms) })}
        {version.reviewer_name && version.audited_at_ms != null && <> · {t('version.reviewer', { name: version.reviewer_name, at: shortTime(version.audited_at_ms) })}</>}
        {version.received_at_ms != null && <><br />{t('version.received', { at: shortTime(version.received_at_ms) })}</>}
        {version.opened_at_ms != null && <> · {t('version.opened', { name: version.opened_by ?? '', at: shortTime(version.opened_at_ms) })}</>}
      </p>
      {stale && <Tag color="orange">{t('version.otherRevision')}</Tag>}
      <p className={words}>{text.findings}</p>
      <p className={words}><b>{text.impression}</b></p>
      {text.advice && <p className={words}>{text.advice}</p>}
      <Button size="small" type="link" icon={<FilePdfOutlined />} href={partUrl(version, 'report.pdf')} target="_blank" rel="noreferrer">{t('version.pdf')}</Button>
      <Button size="small" type="link" icon={<SafetyCertificateOutlined />} href={partUrl(version, 'package')} download>{t('version.package')}</Button>
    </Card>
  );
}

/** What stands on a notice that nobody has read back, by the step of the ladder that was taken. */
const UNREAD = ['critical.open', 'critical.second', 'critical.chief', 'critical.county'] as const;

function Notice({ notice }: { notice: Critical }) {
  const { t } = useI18n();
  const { read_back_at_ms: readAt, action } = notice;
  return (
    <Card
      size="small" className="notice" title={<span className="over"><AlertOutlined /> {notice.code} {notice.finding}</span>}
      extra={readAt == null && <Tag color="red">{t(UNREAD[notice.escalated] ?? 'critical.open')}</Tag>}
    >
      <p>{t('critical.raised', { name: notice.raised_by_name, at: shortTime(notice.raised_at_ms) })}</p>
      {notice.received_at_ms != null && <p>{t('critical.received', { at: shortTime(notice.received_at_ms) })}</p>}
      {readAt != null && <p>{t('critical.readBack', { name: notice.read_back_by ?? '', at: shortTime(readAt) })}</p>}
      {action && <p>{t('critical.action', { name: action.by, at: shortTime(action.at_ms), text: action.text })}</p>}
    </Card>
  );
}
