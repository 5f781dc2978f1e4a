import type { FrameInfo } from '../../api/types';
import { drawGrey } from './draw';
import { aspect, type Basis, basisOf, fitted, type Placement, type Point, toCanvas } from './geometry';
import { drawMarks, type Mark } from './marks';
import { type Level, levelsOf } from './mip';
import { asWindow, autoWindow, defaultVoi, greyTable, narrowest, type Voi } from './pixel';
import { listen, type Tool } from './pointer';

/** After so long without change the nearest-sample picture becomes the smooth one. */
const SETTLE_MS = 90;
/** Zoom beyond these shows nothing more. */
const [LEAST_ZOOM, MOST_ZOOM] = [0.02, 32];

export interface ViewState {
  voi: Voi | undefined;
  zoom: number;
  invert: boolean;
  mirrored: boolean;
  basis: Basis;
  /** The original samples are shown, not the preview. */
  final: boolean;
}

interface Source {
  columns: number;
  rows: number;
  picture?: ImageBitmap;
  info?: FrameInfo;
  levels?: Level[];
}

/** Shows one film. Framework-free: a host element in, a state out; needs no GPU. */
export class Viewport {
  tool: Tool = 'window';
  marks: Mark[] = [];
  place: Placement = { zoom: 1, centre: { x: 0, y: 0 }, turns: 0, flipH: false, flipV: false };
  onChange: (state: ViewState) => void = () => undefined;
  /** Words of the spacing bases, printed beside lengths. */
  basisWords: Record<Basis, string> = { calibrated: '', pixel_spacing: '', detector: '', detector_corrected: '', unknown: '' };

  private readonly canvas = document.createElement('canvas');
  private readonly overlay = document.createElement('canvas');
  private readonly resize: ResizeObserver;
  private readonly unlisten: () => void;
  private source: Source | undefined;
  private voi: Voi | undefined;
  private inverted = false;
  private table: Uint32Array | undefined;
  private pixels: ImageData | undefined;
  private frame = 0;
  private settle: ReturnType<typeof setTimeout> | undefined;
  private fit = true;

  constructor(private readonly host: HTMLElement) {
    for (const canvas of [this.canvas, this.overlay]) host.append(canvas);
    this.canvas.className = 'film-canvas';
    this.overlay.className = 'film-overlay';
    this.resize = new ResizeObserver(() => this.resized());
    this.resize.observe(host);
    this.unlisten = listen(this.overlay, this);
    this.resized();
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.settle);
    this.resize.disconnect();
    this.unlisten();
    this.source?.picture?.close();
    this.canvas.remove();
    this.overlay.remove();
  }

  get ratio(): number {
    return window.devicePixelRatio || 1;
  }

  get size(): Point {
    return { x: this.canvas.width, y: this.canvas.height };
  }

  get rowAspect(): number {
    return aspect(this.source?.info?.spacing);
  }

  get state(): ViewState {
    return {
      voi: this.voi, zoom: this.place.zoom, invert: this.inverted, mirrored: this.place.flipH !== this.place.flipV,
      basis: basisOf(this.source?.info?.spacing), final: this.source?.levels !== undefined || this.source?.info?.samples_per_pixel === 3,
    };
  }

  /** A rendered picture of the film: the preview, or the only form of a colour image. */
  showPicture(picture: ImageBitmap, columns: number, rows: number, info?: FrameInfo): void {
    if (this.source?.levels) return picture.close();
    this.source?.picture?.close();
    this.source = { columns, rows, picture, ...(info ? { info } : {}) };
    if (this.fit) this.refit();
    this.changed();
  }

  /** The original samples; placement and marks stay. */
  showFrame(info: FrameInfo, words: Uint16Array): void {
    this.source?.picture?.close();
    this.source = { columns: info.columns, rows: info.rows, info, levels: levelsOf(words, info.columns, info.rows) };
    this.voi = defaultVoi(info, words);
    this.table = undefined;
    if (this.fit) this.refit();
    this.changed();
  }

  setVoi(voi: Voi): void {
    this.voi = voi;
    this.table = undefined;
    this.changed();
  }

  /** Moves the window by a share of its own width: the same drag feels the same on 10 and on 16 bits. */
  dragWindow(dx: number, dy: number): void {
    if (!this.voi || !this.source?.levels) return;
    const { center, width, fn } = asWindow(this.voi);
    const speed = Math.max(width, 16) / 400;
    this.setVoi({ center: center + dy * speed, width: Math.max(narrowest(fn), width + dx * speed), fn });
  }

  /** 1: the file's default; 2: its second window or the middle half; 3: brighter bone range; 4: everything. */
  preset(which: 1 | 2 | 3 | 4): void {
    const { info, levels } = this.source ?? {};
    const words = levels?.[0]?.words;
    if (!info || !words) return;
    if (which === 1) return this.setVoi(defaultVoi(info, words));
    const stated = info.windows[which - 1];
    if (which < 4 && stated) return this.setVoi({ center: stated.center, width: stated.width, fn: info.voi_function });
    const shares = { 2: [0.1, 0.9], 3: [0.5, 0.999], 4: [0, 0.99999] } as const;
    const [low, high] = shares[which];
    return this.setVoi({ ...autoWindow(info, words, low, high), fn: 'linear' });
  }

  toggleInvert(): void {
    this.inverted = !this.inverted;
    this.table = undefined;
    this.changed();
  }

  rotate(quarter: 1 | -1): void {
    const mirrored = this.place.flipH !== this.place.flipV;
    const turn = mirrored ? -quarter : quarter;
    this.place = { ...this.place, turns: ((this.place.turns + turn + 4) % 4) as Placement['turns'] };
    if (this.fit) this.refit();
    this.changed();
  }

  flip(axis: 'flipH' | 'flipV'): void {
    this.place = { ...this.place, [axis]: !this.place[axis] };
    this.changed();
  }

  /** Zooms so that the image point under `at` stays there. */
  zoomAt(factor: number, at: Point): void {
    const zoom = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, this.place.zoom * factor));
    const scale = zoom / this.place.zoom;
    const centre = toCanvas(this.place.centre, this.place, this.size, this.rowAspect);
    this.place = { ...this.place, zoom };
    this.fit = false;
    this.panBy((at.x - centre.x) * (1 - scale), (at.y - centre.y) * (1 - scale));
  }

  panBy(dx: number, dy: number): void {
    const { turns, flipH, flipV, zoom, centre } = this.place;
    const x = flipH ? -dx : dx;
    const y = flipV ? -dy : dy;
    const [cos, sin] = [[1, 0], [0, 1], [-1, 0], [0, -1]][turns] as [number, number];
    const moved = { x: x * cos + y * sin, y: -x * sin + y * cos };
    this.place = { ...this.place, centre: { x: centre.x - moved.x / zoom, y: centre.y - moved.y / (zoom * this.rowAspect) } };
    this.fit = false;
    this.changed();
  }

  reset(): void {
    const { info, levels } = this.source ?? {};
    this.place = { ...this.place, turns: 0, flipH: false, flipV: false };
    this.inverted = false;
    if (info && levels?.[0]) this.voi = defaultVoi(info, levels[0].words);
    this.table = undefined;
    this.fit = true;
    this.refit();
    this.changed();
  }

  setMarks(marks: Mark[]): void {
    this.marks = marks;
    this.changed();
  }

  private refit(): void {
    const { source, place, size } = this;
    if (!source || size.x === 0) return;
    const whole = fitted({ x: source.columns, y: source.rows }, size, this.rowAspect, place.turns);
    this.place = { ...whole, flipH: place.flipH, flipV: place.flipV };
  }

  private resized(): void {
    const width = Math.max(1, Math.round(this.host.clientWidth * this.ratio));
    const height = Math.max(1, Math.round(this.host.clientHeight * this.ratio));
    for (const canvas of [this.canvas, this.overlay]) Object.assign(canvas, { width, height });
    this.pixels = undefined;
    if (this.fit) this.refit();
    this.changed();
  }

  private changed(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw(false));
    clearTimeout(this.settle);
    this.settle = setTimeout(() => this.draw(true), SETTLE_MS);
    this.onChange(this.state);
  }

  private draw(smooth: boolean): void {
    const pen = this.canvas.getContext('2d', { alpha: false });
    const over = this.overlay.getContext('2d');
    if (!pen || !over) return;
    const { source, size } = this;
    if (source?.levels && source.info && this.voi) {
      this.pixels ??= pen.createImageData(size.x, size.y);
      this.table ??= greyTable(source.info, this.voi, this.inverted);
      drawGrey(new Uint32Array(this.pixels.data.buffer), size, source.levels, this.place, this.rowAspect, this.table, smooth);
      pen.putImageData(this.pixels, 0, 0);
    } else {
      pen.fillStyle = '#000';
      pen.fillRect(0, 0, size.x, size.y);
      if (source?.picture) this.drawPicture(pen, source, source.picture);
    }
    over.clearRect(0, 0, size.x, size.y);
    drawMarks(over, this.marks, {
      place: this.place, size, rowAspect: this.rowAspect, spacing: source?.info?.spacing, basisWords: this.basisWords, ratio: this.ratio,
    });
  }

  private drawPicture(pen: CanvasRenderingContext2D, source: Source, picture: ImageBitmap): void {
    const o = toCanvas({ x: 0, y: 0 }, this.place, this.size, this.rowAspect);
    const u = toCanvas({ x: source.columns, y: 0 }, this.place, this.size, this.rowAspect);
    const v = toCanvas({ x: 0, y: source.rows }, this.place, this.size, this.rowAspect);
    const { width: w, height: h } = picture;
    pen.save();
    pen.setTransform((u.x - o.x) / w, (u.y - o.y) / w, (v.x - o.x) / h, (v.y - o.y) / h, o.x, o.y);
    if (this.inverted) pen.filter = 'invert(1)';
    pen.drawImage(picture, 0, 0);
    pen.restore();
  }
}
