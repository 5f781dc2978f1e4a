import { type Point, toImage } from './geometry';
import { type Mark, type MarkKind, POINTS } from './marks';
import type { Viewport } from './viewport';

export type Tool = 'window' | 'pan' | 'zoom' | MarkKind;

/** A length shorter than this on the screen was a click, not a measurement. */
const LEAST_LENGTH_PX = 4;
const WHEEL_STEP = 1.15;

type Drag = { action: 'window' | 'pan' | 'zoom'; last: Point } | { action: 'length'; mark: Mark; start: Point };

const noMenu = (event: Event): void => event.preventDefault();

/** Mouse on a film: left is the tool, middle pans, right zooms, the wheel zooms at the pointer. */
export function listen(canvas: HTMLCanvasElement, view: Viewport): () => void {
  let drag: Drag | undefined;
  let open: Mark | undefined;

  const canvasPoint = (event: MouseEvent): Point => {
    const box = canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) * view.ratio, y: (event.clientY - box.top) * view.ratio };
  };
  const imagePoint = (event: MouseEvent): Point => toImage(canvasPoint(event), view.place, view.size, view.rowAspect);

  const onDown = (event: PointerEvent) => {
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    const last = canvasPoint(event);
    if (event.button === 1) drag = { action: 'pan', last };
    else if (event.button === 2) drag = { action: 'zoom', last };
    else if (view.tool === 'length') {
      const point = imagePoint(event);
      const mark: Mark = { kind: 'length', points: [point, point] };
      drag = { action: 'length', mark, start: last };
      view.setMarks([...view.marks, mark]);
    } else if (view.tool === 'angle' || view.tool === 'ctr') {
      if (!open || open.kind !== view.tool) view.setMarks([...view.marks, (open = { kind: view.tool, points: [] })]);
      open.points.push(imagePoint(event));
      if (open.points.length === POINTS[open.kind]) open = undefined;
      view.setMarks([...view.marks]);
    } else drag = { action: view.tool, last };
  };

  const onMove = (event: PointerEvent) => {
    if (!drag) return;
    if (drag.action === 'length') {
      drag.mark.points[1] = imagePoint(event);
      view.setMarks([...view.marks]);
      return;
    }
    const now = canvasPoint(event);
    const dx = now.x - drag.last.x;
    const dy = now.y - drag.last.y;
    drag.last = now;
    if (drag.action === 'window') view.dragWindow(dx / view.ratio, dy / view.ratio);
    else if (drag.action === 'pan') view.panBy(dx, dy);
    else view.zoomAt(1.01 ** (-dy / view.ratio), { x: view.size.x / 2, y: view.size.y / 2 });
  };

  const onUp = (event: PointerEvent) => {
    if (drag?.action === 'length') {
      const end = canvasPoint(event);
      const { mark, start } = drag;
      if (Math.hypot(end.x - start.x, end.y - start.y) < LEAST_LENGTH_PX * view.ratio) {
        view.setMarks(view.marks.filter((other) => other !== mark));
      }
    }
    drag = undefined;
  };

  const onWheel = (event: WheelEvent) => {
    event.preventDefault();
    view.zoomAt(event.deltaY < 0 ? WHEEL_STEP : 1 / WHEEL_STEP, canvasPoint(event));
  };

  canvas.addEventListener('pointerdown', onDown);
  canvas.addEventListener('pointermove', onMove);
  canvas.addEventListener('pointerup', onUp);
  canvas.addEventListener('pointercancel', onUp);
  canvas.addEventListener('wheel', onWheel, { passive: false });
  canvas.addEventListener('contextmenu', noMenu);
  return () => {
    canvas.removeEventListener('pointerdown', onDown);
    canvas.removeEventListener('pointermove', onMove);
    canvas.removeEventListener('pointerup', onUp);
    canvas.removeEventListener('pointercancel', onUp);
    canvas.removeEventListener('wheel', onWheel);
    canvas.removeEventListener('contextmenu', noMenu);
  };
}
