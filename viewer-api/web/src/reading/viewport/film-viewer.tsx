import { Tag } from 'antd';
import { useCallback, useRef, useState } from 'react';
import { instancePath } from '../../api/client';
import { useI18n } from '../../i18n';
import { useKeys } from '../../ui/keys';
import { type Film, FilmPane } from './film-pane';
import { FilmToolbar } from './film-toolbar';
import type { Tool } from './pointer';
import type { Viewport } from './viewport';

/** Pixels of a display below which a film is not to be diagnosed on it: 3 MP class. */
const DIAGNOSTIC_PIXELS = 3_000_000;

function isDiagnostic(): boolean {
  const ratio = window.devicePixelRatio || 1;
  return window.screen.width * ratio * window.screen.height * ratio >= DIAGNOSTIC_PIXELS;
}

const keyOf = (film: Film): string => `${film.object.hash}/${film.frame}`;
/** A film keeps its pane: hung twice it is shown twice. */
const paneKey = (film: Film, pane: number): string => `${pane}/${keyOf(film)}`;
/** Frontal left, lateral right, as films are hung; else as they came. */
const LATERAL = /^(LL|RL|LAT|LLO|RLO)/;
export const hung = (films: readonly Film[]): Film[] =>
  [...films].sort((a, b) => Number(LATERAL.test(a.object.view_position)) - Number(LATERAL.test(b.object.view_position)));

interface Props {
  films: readonly Film[];
  /** Hung beside the current film. */
  beside?: Film | undefined;
}

export function FilmViewer({ films, beside }: Props) {
  const { t } = useI18n();
  const [tool, setTool] = useState<Tool>('window');
  const [two, setTwo] = useState(films.length > 1);
  const [first, setFirst] = useState(0);
  const [active, setActive] = useState(0);
  const views = useRef<(Viewport | undefined)[]>([]);

  const at = Math.min(first, films.length - 1);
  const main = films[at];
  const second = beside ?? (two && films.length > 1 ? films[(at + 1) % films.length] : undefined);
  const panes = [main, second].filter((film) => film !== undefined);
  const act = useCallback((work: (view: Viewport) => void) => () => {
    const view = views.current[active] ?? views.current[0];
    if (view) work(view);
  }, [active]);

  const step = (by: number) => () => setFirst((at + by + films.length) % films.length);
  useKeys({
    KeyW: () => setTool('window'), KeyP: () => setTool('pan'), KeyZ: () => setTool('zoom'), KeyL: () => setTool('length'),
    KeyA: () => setTool('angle'), KeyT: () => setTool('ctr'),
    KeyI: act((view) => view.toggleInvert()),
    KeyR: act((view) => view.rotate(1)), 'Shift+KeyR': act((view) => view.rotate(-1)),
    KeyH: act((view) => view.flip('flipH')), KeyV: act((view) => view.flip('flipV')),
    Space: act((view) => view.reset()),
    Digit1: act((view) => view.preset(1)), Digit2: act((view) => view.preset(2)),
    Digit3: act((view) => view.preset(3)), Digit4: act((view) => view.preset(4)),
    Delete: act((view) => view.setMarks(view.marks.slice(0, -1))),
    Backspace: act((view) => view.setMarks(view.marks.slice(0, -1))),
    ArrowLeft: step(-1), ArrowRight: step(1),
  });

  return (
    <section className="viewer" aria-label={t('kind.xray')}>
      <FilmToolbar
        tool={tool} onTool={setTool} act={act} two={beside !== undefined || two} canTwo={films.length > 1 && !beside} onTwo={setTwo}
        note={isDiagnostic() ? undefined : <Tag color="orange">{t('film.notDiagnostic')}</Tag>}
      />
      <div className="films">
        {panes.map((film, i) => (
          <FilmPane
            key={paneKey(film, i)} film={film} tool={tool} active={panes.length > 1 && i === active}
            onActivate={(view) => {
              views.current[i] = view;
              setActive(i);
            }}
          />
        ))}
      </div>
      {films.length > 1 && (
        <div className="thumbs">
          {films.map((film, i) => (
            <button
              key={keyOf(film)} type="button" className={i === at ? 'thumb current' : 'thumb'} onClick={() => setFirst(i)}
              aria-label={t('film.thumb', { n: i + 1 })} aria-pressed={i === at}
            >
              <img alt="" loading="lazy" src={`${instancePath({ ...film, hash: film.object.hash })}/preview`} />
              <span>{film.object.view_position || i + 1}</span>
            </button>
          ))}
        </div>
      )}
    </section>
  );
}
