import { SnippetsOutlined } from '@ant-design/icons';
import { Button, Dropdown } from 'antd';
import type { DraftText, Kind } from '../../api/types';
import { useI18n } from '../../i18n';
import { groupsFor } from './templates';

interface Props {
  kind: Kind;
  item: string;
  disabled: boolean;
  onTemplate: (text: Partial<DraftText>) => void;
}

/** Template tree and phrases; a phrase goes to the findings. */
export function TemplateMenu({ kind, item, disabled, onTemplate }: Props) {
  const { t } = useI18n();
  const groups = groupsFor(kind, item);
  const first = groups[0];
  return (
    <>
      <Dropdown
        trigger={['click']} disabled={disabled}
        menu={{
          items: groups.map((group, g) => ({
            type: 'group' as const, key: group.name, label: group.name,
            children: group.templates.map(({ name }, i) => ({ key: `${g}/${i}`, label: name })),
          })),
          className: 'template-menu',
          onClick: ({ key }) => {
            const [g, i] = key.split('/').map(Number);
            const template = groups[g ?? 0]?.templates[i ?? 0];
            if (template) onTemplate(template.text);
          },
        }}
      >
        <Button size="small" icon={<SnippetsOutlined />}>{t('edit.templates')}</Button>
      </Dropdown>
      <Dropdown
        trigger={['click']} disabled={disabled}
        menu={{
          items: first?.phrases.map((phrase, i) => ({ key: phrase, label: i < 9 ? `${phrase}  (Alt+${i + 1})` : phrase })) ?? [],
          onClick: ({ key }) => onTemplate({ findings: key }),
        }}
      >
        <Button size="small">{t('edit.phrases')}</Button>
      </Dropdown>
    </>
  );
}
