import {
  BgColorsOutlined, BorderOutlined, ClearOutlined, ColumnWidthOutlined, DragOutlined, HeartOutlined, ReloadOutlined,
  RotateRightOutlined, RiseOutlined, SplitCellsOutlined, SunOutlined, SwapOutlined, UndoOutlined, ZoomInOutlined,
} from '@ant-design/icons';
import { Button, Tooltip } from 'antd';
import type { ReactNode } from 'react';
import { useI18n } from '../../i18n';
import type { Key } from '../../i18n/zh';
import type { Tool } from './pointer';
import type { Viewport } from './viewport';

const TOOLS: readonly (readonly [Tool, Key, string, ReactNode])[] = [
  ['window', 'film.window', 'W', <SunOutlined key="w" />],
  ['pan', 'film.pan', 'P', <DragOutlined key="p" />],
  ['zoom', 'film.zoom', 'Z', <ZoomInOutlined key="z" />],
  ['length', 'film.length', 'L', <ColumnWidthOutlined key="l" />],
  ['angle', 'film.angle', 'A', <RiseOutlined key="a" />],
  ['ctr', 'film.ctr', 'T', <HeartOutlined key="t" />],
];

const ACTIONS: readonly (readonly [Key, string, ReactNode, (view: Viewport) => void])[] = [
  ['film.invert', 'I', <BgColorsOutlined key="i" />, (view) => view.toggleInvert()],
  ['film.rotate', 'R', <RotateRightOutlined key="r" />, (view) => view.rotate(1)],
  ['film.flipH', 'H', <SwapOutlined key="h" />, (view) => view.flip('flipH')],
  ['film.flipV', 'V', <SwapOutlined key="v" rotate={90} />, (view) => view.flip('flipV')],
  ['film.clear', 'Del', <ClearOutlined key="c" />, (view) => view.setMarks([])],
  ['film.reset', 'Space', <ReloadOutlined key="s" />, (view) => view.reset()],
];

const PRESETS: readonly (readonly [1 | 2 | 3 | 4, Key])[] = [
  [1, 'film.preset.default'], [2, 'film.preset.soft'], [3, 'film.preset.bone'], [4, 'film.preset.full'],
];

interface Props {
  tool: Tool;
  onTool: (tool: Tool) => void;
  act: (work: (view: Viewport) => void) => () => void;
  two: boolean;
  canTwo: boolean;
  onTwo: (two: boolean) => void;
  note: ReactNode;
}

export function FilmToolbar({ tool, onTool, act, two, canTwo, onTwo, note }: Props) {
  const { t } = useI18n();
  return (
    <div className="toolbar" role="toolbar" aria-label={t('kind.xray')}>
      {TOOLS.map(([which, key, hint, icon]) => (
        <Tooltip key={which} title={`${t(key)} (${hint})`}>
          <Button size="small" type={tool === which ? 'primary' : 'text'} aria-pressed={tool === which} aria-label={t(key)} icon={icon} onClick={() => onTool(which)}>
            {t(key)}
          </Button>
        </Tooltip>
      ))}
      <i className="divider" />
      {PRESETS.map(([which, key]) => (
        <Tooltip key={which} title={`${t(key)} (${which})`}>
          <Button size="small" type="text" onClick={act((view) => view.preset(which))}>{t(key)}</Button>
        </Tooltip>
      ))}
      <i className="divider" />
      {ACTIONS.map(([key, hint, icon, work]) => (
        <Tooltip key={key} title={`${t(key)} (${hint})`}>
          <Button size="small" type="text" aria-label={t(key)} icon={icon} onClick={act(work)} />
        </Tooltip>
      ))}
      <Tooltip title={`${t('film.rotate')} (Shift+R)`}>
        <Button size="small" type="text" aria-label={`${t('film.rotate')} −90°`} icon={<UndoOutlined />} onClick={act((view) => view.rotate(-1))} />
      </Tooltip>
      <i className="divider" />
      <Button size="small" type={two ? 'text' : 'primary'} disabled={!canTwo} aria-label={t('film.one')} title={t('film.one')} icon={<BorderOutlined />} onClick={() => onTwo(false)} />
      <Button size="small" type={two ? 'primary' : 'text'} disabled={!canTwo} aria-label={t('film.two')} title={t('film.two')} icon={<SplitCellsOutlined />} onClick={() => onTwo(true)} />
      <span className="fill" />
      {note}
    </div>
  );
}
