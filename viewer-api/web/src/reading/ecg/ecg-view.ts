import type { Waveform } from '../../api/types';
import { drawPaper } from './draw';
import { type EcgLayout, layoutOf, type Paper, type Reading, readingOf } from './layout';
import { leadName } from './samples';

interface Point {
  x: number;
  y: number;
}

const CALIPER = '#0958d9';
/** mm: a shorter drag was a click. */
const LEAST_DRAG_MM = 0.5;

/** Shows one ECG on paper with calipers over it. Framework-free. */
export class EcgView {
  calipers = true;
  march = false;
  onReading: (reading: Reading | undefined) => void = () => undefined;

  private readonly canvas = document.createElement('canvas');
  private readonly overlay = document.createElement('canvas');
  private wave: Waveform | undefined;
  private paper: Paper = { layout: '3x4', speed: 25, gain: 10 };
  private layout: EcgLayout | undefined;
  /** CSS pixels per millimetre. */
  private scale = 4;
  private footer = '';
  private pair: [Point, Point] | undefined;
  private dragging = false;

  constructor(host: HTMLElement) {
    host.append(this.canvas, this.overlay);
    this.canvas.className = 'ecg-canvas';
    this.overlay.className = 'ecg-overlay';
    this.overlay.addEventListener('pointerdown', this.onDown);
    this.overlay.addEventListener('pointermove', this.onMove);
    this.overlay.addEventListener('pointerup', this.onUp);
  }

  dispose(): void {
    this.overlay.removeEventListener('pointerdown', this.onDown);
    this.overlay.removeEventListener('pointermove', this.onMove);
    this.overlay.removeEventListener('pointerup', this.onUp);
    this.canvas.remove();
    this.overlay.remove();
  }

  /** Width of the paper in mm, to choose a scale that fits. */
  static width(wave: Waveform, paper: Paper): number {
    return layoutOf(paper, wave.duration_s, []).width;
  }

  show(wave: Waveform, paper: Paper, cssPixelsPerMm: number, footer: string): void {
    const changed = paper !== this.paper;
    Object.assign(this, { wave, paper, scale: cssPixelsPerMm, footer });
    this.layout = layoutOf(paper, wave.duration_s, wave.leads.map((lead) => leadName(lead.label)));
    if (changed) this.clear();
    this.draw();
  }

  clear(): void {
    this.pair = undefined;
    this.onReading(undefined);
    this.drawCalipers();
  }

  redraw(): void {
    this.drawCalipers();
  }

  private get device(): number {
    return this.scale * (window.devicePixelRatio || 1);
  }

  private draw(): void {
    const { layout, wave, canvas } = this;
    if (!layout || !wave) return;
    for (const each of [canvas, this.overlay]) {
      each.width = Math.round(layout.width * this.device);
      each.height = Math.round(layout.height * this.device);
      each.style.width = `${layout.width * this.scale}px`;
      each.style.height = `${layout.height * this.scale}px`;
    }
    const pen = canvas.getContext('2d', { alpha: false });
    if (pen) drawPaper(pen, layout, wave, this.paper, this.device, this.footer);
    this.drawCalipers();
  }

  private point(event: PointerEvent): Point {
    const box = this.overlay.getBoundingClientRect();
    return { x: (event.clientX - box.left) / this.scale, y: (event.clientY - box.top) / this.scale };
  }

  private readonly onDown = (event: PointerEvent): void => {
    if (!this.calipers || event.button !== 0) return;
    this.overlay.setPointerCapture(event.pointerId);
    const at = this.point(event);
    const grabbed = this.pair?.findIndex((p) => Math.abs(p.x - at.x) < 1.5) ?? -1;
    // An end that is grabbed moves; anywhere else a new pair begins.
    if (this.pair && grabbed >= 0) this.pair = grabbed === 0 ? [this.pair[1], this.pair[0]] : this.pair;
    else this.pair = [at, at];
    this.dragging = true;
  };

  private readonly onMove = (event: PointerEvent): void => {
    if (!this.dragging || !this.pair) return;
    this.pair = [this.pair[0], this.point(event)];
    this.onReading(readingOf(this.pair[0], this.pair[1], this.paper));
    this.drawCalipers();
  };

  private readonly onUp = (): void => {
    this.dragging = false;
    if (!this.pair) return;
    const [a, b] = this.pair;
    if (Math.hypot(b.x - a.x, b.y - a.y) < LEAST_DRAG_MM) this.clear();
  };

  private drawCalipers(): void {
    const pen = this.overlay.getContext('2d');
    if (!pen) return;
    pen.clearRect(0, 0, this.overlay.width, this.overlay.height);
    if (!this.pair || !this.layout) return;
    const [a, b] = this.pair;
    const k = this.device;
    const height = this.layout.height * k;
    pen.strokeStyle = CALIPER;
    pen.lineWidth = Math.max(1, 0.3 * k);
    pen.beginPath();
    for (const { x } of [a, b]) {
      pen.moveTo(x * k, 0);
      pen.lineTo(x * k, height);
    }
    pen.moveTo(a.x * k, a.y * k);
    pen.lineTo(b.x * k, a.y * k);
    pen.lineTo(b.x * k, b.y * k);
    pen.stroke();
    const step = Math.abs(b.x - a.x);
    if (!this.march || step < 1) return;
    pen.setLineDash([1.2 * k, 1.2 * k]);
    pen.beginPath();
    const [low, high] = [Math.min(a.x, b.x), Math.max(a.x, b.x)];
    for (let x = high + step; x < this.layout.width; x += step) this.mark(pen, x * k, height);
    for (let x = low - step; x > 0; x -= step) this.mark(pen, x * k, height);
    pen.stroke();
    pen.setLineDash([]);
  }

  private mark(pen: CanvasRenderingContext2D, x: number, height: number): void {
    pen.moveTo(x, 0);
    pen.lineTo(x, height);
  }
}
