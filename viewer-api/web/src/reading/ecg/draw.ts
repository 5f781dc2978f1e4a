import type { Waveform } from '../../api/types';
import { type EcgLayout, type Paper, PULSE_S, STANDARD_LEADS, type Trace, yOf } from './layout';
import { leadName, LONGEST_JOIN_S, spans } from './samples';

const FINE = '#f6d5d5';
const BOLD = '#e6a3a3';
const PAPER = '#fffdfb';
const INK = '#111';
const LABEL_MM = 3.4;

/** Draws the paper. `scale` is device pixels per millimetre. */
export function drawPaper(pen: CanvasRenderingContext2D, layout: EcgLayout, wave: Waveform, paper: Paper, scale: number, footer: string): void {
  pen.fillStyle = PAPER;
  pen.fillRect(0, 0, layout.width * scale, layout.height * scale);
  grid(pen, layout, scale);
  pen.strokeStyle = INK;
  pen.fillStyle = INK;
  pen.lineJoin = 'round';
  pen.lineWidth = Math.max(1, 0.22 * scale);
  for (const pulse of layout.pulses) drawPulse(pen, pulse, paper, scale);
  const leads = new Map(wave.leads.map((lead) => [leadName(lead.label), lead]));
  for (const trace of layout.traces) {
    const lead = leads.get(trace.lead);
    pen.font = `600 ${LABEL_MM * scale}px sans-serif`;
    pen.fillText(trace.lead + (lead?.derived ? '*' : ''), (trace.x + 1) * scale, (trace.y - layout.rowHeight / 2 + LABEL_MM) * scale);
    if (lead) drawTrace(pen, trace, lead, paper, scale);
  }
  pen.lineWidth = Math.max(1, 0.3 * scale);
  for (const x of layout.columns) separators(pen, x, layout, paper, scale);
  pen.font = `${3 * scale}px sans-serif`;
  pen.fillText(footer, 6 * scale, (layout.height - 1.5) * scale);
}

function grid(pen: CanvasRenderingContext2D, layout: EcgLayout, scale: number): void {
  for (const [step, colour, width] of [[1, FINE, 0.5], [5, BOLD, 1]] as const) {
    // A grid finer than three pixels is a grey veil: then only the 5 mm lines are drawn.
    if (step * scale < 3) continue;
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    for (let x = 0; x <= layout.width; x += step) line(pen, x * scale, 0, x * scale, layout.height * scale);
    for (let y = 0; y <= layout.height; y += step) line(pen, 0, y * scale, layout.width * scale, y * scale);
    pen.stroke();
  }
}

function line(pen: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
}

function drawPulse(pen: CanvasRenderingContext2D, { x, y }: { x: number; y: number }, paper: Paper, scale: number): void {
  const foot = 1;
  const top = y - paper.gain;
  const end = x + PULSE_S * paper.speed;
  pen.beginPath();
  pen.moveTo((x - foot) * scale, y * scale);
  for (const [px, py] of [[x, y], [x, top], [end, top], [end, y], [end + foot, y]] as const) pen.lineTo(px * scale, py * scale);
  pen.stroke();
}

function drawTrace(pen: CanvasRenderingContext2D, trace: Trace, lead: Waveform['leads'][number], paper: Paper, scale: number): void {
  const pixelsPerSecond = paper.speed * scale;
  const columns = Math.max(1, Math.round((trace.to - trace.from) * pixelsPerSecond));
  const x0 = trace.x * scale;
  const y = (mV: number) => yOf(trace, mV, paper.gain) * scale;
  const join = Math.max(1, Math.ceil(Math.max(LONGEST_JOIN_S, 2 / lead.rate_hz) * pixelsPerSecond));
  pen.beginPath();
  let last = Number.NEGATIVE_INFINITY;
  for (const [column, span] of spans(lead, trace.from, trace.to, columns).entries()) {
    if (!span) continue;
    const x = x0 + column + 0.5;
    if (column - last > join) pen.moveTo(x, y(span.first));
    else pen.lineTo(x, y(span.first));
    if (span.max > span.min) {
      pen.lineTo(x, y(span.max));
      pen.lineTo(x, y(span.min));
      pen.lineTo(x, y(span.last));
    }
    last = column;
  }
  pen.stroke();
}

/** Short strokes where one column of leads ends and the next begins. */
function separators(pen: CanvasRenderingContext2D, x: number, layout: EcgLayout, paper: Paper, scale: number): void {
  const rows = paper.layout === '3x4' ? layout.pulses.slice(0, -1) : layout.pulses;
  pen.beginPath();
  for (const { y } of rows) line(pen, x * scale, (y - 6) * scale, x * scale, (y + 4) * scale);
  pen.stroke();
}

export const missingLeads = (wave: Waveform): string[] => {
  const there = new Set(wave.leads.map((lead) => leadName(lead.label)));
  return STANDARD_LEADS.filter((lead) => !there.has(lead));
};
