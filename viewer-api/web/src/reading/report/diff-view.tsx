import type { DraftText } from '../../api/types';
import { useI18n } from '../../i18n';
import type { Key } from '../../i18n/zh';
import { diff } from './diff';

const FIELDS = ['findings', 'impression', 'advice'] as const;

/** What the reviewer changed, removed words struck through, added ones underlined. */
export function DiffView({ before, after }: { before: DraftText; after: DraftText }) {
  const { t } = useI18n();
  const choice = (value: string) => (value ? t(`edit.${value}` as Key) : '—');
  const choices = (['result', 'ecg_class'] as const).filter((field) => before[field] !== after[field]);
  const changed = FIELDS.filter((field) => before[field] !== after[field]);
  if (changed.length + choices.length === 0) return <p className="dim">{t('audit.same')}</p>;
  return (
    <div className="diff">
      {changed.map((field) => (
        <p key={field}>
          <b>{t(`edit.${field}`)}</b>{' '}
          {diff(before[field], after[field]).map(({ kind, text }, at) => {
            // oxlint-disable-next-line react/no-array-index-key
            const key = `${at}/${kind}`;
            if (kind === 'added') return <ins key={key}>{text}</ins>;
            return kind === 'removed' ? <del key={key}>{text}</del> : <span key={key}>{text}</span>;
          })}
        </p>
      ))}
      {choices.map((field) => (
        <p key={field}>
          <b>{t(field === 'result' ? 'edit.result' : 'edit.ecgClass')}</b> <del>{choice(before[field])}</del> <ins>{choice(after[field])}</ins>
        </p>
      ))}
    </div>
  );
}
