import { Input, Radio } from 'antd';
import type { DraftText, Kind } from '../../api/types';
import { useI18n } from '../../i18n';

/** Characters of one field that the county takes. */
const LONGEST = 10_000;
const FIELDS = [['findings', 8], ['impression', 4], ['advice', 2]] as const;
const RESULTS = ['positive', 'negative', 'undetermined'] as const;
const ECG_CLASSES = ['normal', 'borderline', 'suspicious', 'abnormal'] as const;

interface Props {
  text: DraftText;
  kind: Kind;
  disabled?: boolean;
  onChange: (text: DraftText) => void;
  onBlur?: () => void;
}

/** The words of a report. Plain text: what is signed is what is seen. */
export function ReportForm({ text, kind, disabled = false, onChange, onBlur }: Props) {
  const { t } = useI18n();
  return (
    <div className="form">
      {FIELDS.map(([field, rows]) => (
        <div key={field} className={`field ${field}`}>
          <label htmlFor={`report-${field}`}>{t(`edit.${field}`)}</label>
          <Input.TextArea
            id={`report-${field}`} rows={rows} value={text[field]} maxLength={LONGEST} readOnly={disabled} spellCheck={false}
            placeholder={t(`edit.placeholder.${field}`)} onBlur={onBlur}
            onChange={(event) => onChange({ ...text, [field]: event.target.value })}
          />
        </div>
      ))}
      <div className="choices">
        <span id="report-result">{t('edit.result')}</span>
        <Radio.Group
          aria-labelledby="report-result" optionType="button" buttonStyle="solid" disabled={disabled} value={text.result}
          options={RESULTS.map((value) => ({ value, label: t(`edit.${value}`) }))}
          onChange={(event) => onChange({ ...text, result: event.target.value as string })}
        />
      </div>
      {kind === 'ecg' && (
        <div className="choices">
          <span id="report-ecg-class">{t('edit.ecgClass')}</span>
          <Radio.Group
            aria-labelledby="report-ecg-class" optionType="button" buttonStyle="solid" disabled={disabled} value={text.ecg_class}
            options={ECG_CLASSES.map((value) => ({ value, label: t(`edit.${value}`) }))}
            onChange={(event) => onChange({ ...text, ecg_class: event.target.value as string })}
          />
        </div>
      )}
    </div>
  );
}
