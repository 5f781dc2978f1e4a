// Films and previews made of arithmetic: no patient, no file.
import { deflateSync } from 'node:zlib';

const ellipse = (x, y, cx, cy, rx, ry) => ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2;
const soft = (d, edge) => 1 / (1 + Math.exp((d - 1) * edge));
let seed = 7;
const noise = () => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff) - 0.5;

function chest(x, y) {
  let v = 700 + 1500 * soft(ellipse(x, y, 0.5, 0.55, 0.47, 0.6), 14);
  for (const cx of [0.31, 0.69]) v -= 1150 * soft(ellipse(x, y, cx, 0.46, 0.165, 0.3), 9);
  v += 700 * soft(ellipse(x, y, 0.56, 0.62, 0.14, 0.17), 12) + 350 * soft(Math.abs(x - 0.5) / 0.045, 6);
  for (let rib = 0; rib < 9; rib++) {
    const arch = 0.16 + rib * 0.075 + 0.1 * Math.abs(x - 0.5);
    v += 130 * Math.exp(-(((y - arch) / 0.012) ** 2)) * soft(ellipse(x, y, 0.5, 0.5, 0.42, 0.42), 20);
  }
  return v + 260 * soft(ellipse(x, y, 0.36, 0.6, 0.05, 0.035), 6);
}

function lateral(x, y) {
  let v = 700 + 1700 * soft(ellipse(x, y, 0.5, 0.52, 0.33, 0.5), 12);
  v -= 900 * soft(ellipse(x, y, 0.52, 0.45, 0.2, 0.3), 7);
  for (let i = 0; i < 11; i++) v += 420 * soft(ellipse(x, y, 0.74 - 0.05 * Math.sin(i / 3), 0.12 + i * 0.072, 0.045, 0.03), 10);
  return v + 600 * soft(ellipse(x, y, 0.42, 0.6, 0.12, 0.14), 9);
}

function foot(x, y) {
  let v = 300 + 800 * soft(ellipse(x, y, 0.5, 0.55, 0.3, 0.5), 10);
  for (let toe = 0; toe < 5; toe++) {
    const cx = 0.3 + toe * 0.1;
    for (const [from, to, width] of [[0.1, 0.2, 0.022], [0.215, 0.32, 0.025], [0.335, 0.56, 0.03]]) {
      const mid = (from + to) / 2;
      v += 1500 * soft(ellipse(x, y, cx, mid + toe * 0.012, width, (to - from) / 2), 12);
    }
  }
  for (const [cx, cy, rx, ry] of [[0.42, 0.66, 0.11, 0.07], [0.6, 0.66, 0.08, 0.07], [0.5, 0.82, 0.13, 0.13]]) v += 1300 * soft(ellipse(x, y, cx, cy, rx, ry), 12);
  return v;
}

const SHAPES = { chest, lateral, foot };

/** Raw little-endian samples of a film of 12 bits. */
export function film(shape, columns, rows) {
  const samples = new Uint16Array(columns * rows);
  for (let y = 0, i = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, i++) {
      samples[i] = Math.max(0, Math.min(4095, SHAPES[shape](x / columns, y / rows) + 50 * noise()));
    }
  }
  return samples;
}

function chunk(type, data) {
  const out = Buffer.alloc(data.length + 12);
  out.writeUInt32BE(data.length);
  out.write(type, 4, 'latin1');
  data.copy(out, 8);
  out.writeUInt32BE(crc(out.subarray(4, data.length + 8)), data.length + 8);
  return out;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const crc = (bytes) => (bytes.reduce((c, b) => TABLE[(c ^ b) & 255] ^ (c >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;

/** A grey PNG, every `step`-th sample. */
export function png(samples, columns, rows, step, center, width) {
  const [w, h] = [Math.floor(columns / step), Math.floor(rows / step)];
  const lines = Buffer.alloc((w + 1) * h);
  for (let y = 0, o = 0; y < h; y++) {
    lines[o++] = 0;
    for (let x = 0; x < w; x++) {
      const v = samples[y * step * columns + x * step];
      lines[o++] = Math.max(0, Math.min(255, ((v - center) / width + 0.5) * 255));
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(w);
  head.writeUInt32BE(h, 4);
  head.set([8, 0, 0, 0, 0], 8);
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([magic, chunk('IHDR', head), chunk('IDAT', deflateSync(lines)), chunk('IEND', Buffer.alloc(0))]);
}

// One beat as sums of Gaussians: [seconds after the P wave's begin, width, mV] by lead.
const WAVES = {
  P: [0.06, 0.022, [0.1, 0.14, 0.05, -0.12, 0.03, 0.1, 0.06, 0.08, 0.08, 0.08, 0.08, 0.08]],
  Q: [0.185, 0.008, [-0.06, -0.08, -0.05, 0.05, -0.02, -0.06, 0, 0, -0.02, -0.05, -0.08, -0.08]],
  R: [0.205, 0.011, [0.7, 1.1, 0.45, -0.85, 0.25, 0.75, 0.22, 0.45, 0.9, 1.5, 1.4, 1.05]],
  S: [0.228, 0.01, [-0.12, -0.15, -0.1, 0.1, -0.1, -0.12, -0.9, -1.3, -0.8, -0.4, -0.2, -0.1]],
  T: [0.43, 0.045, [0.18, 0.28, 0.1, -0.22, 0.05, 0.18, -0.05, 0.3, 0.38, 0.36, 0.3, 0.22]],
};
const LEADS = ['I', 'II', 'III', 'aVR', 'aVL', 'aVF', 'V1', 'V2', 'V3', 'V4', 'V5', 'V6'];

/** A waveform as the API gives it. */
export function ecg({ rate = 72, elevation = 0 } = {}) {
  const [hz, duration, rr] = [500, 10, 60 / rate];
  const leads = LEADS.map((label, lead) => {
    const samples = [];
    for (let i = 0; i < hz * duration; i++) {
      const t = i / hz;
      let mV = 0.01 * noise() + 0.02 * Math.sin(t / 1.7 + lead);
      const phase = (t + 0.35) % rr;
      for (const [at, width, height] of Object.values(WAVES)) mV += height[lead] * Math.exp(-(((phase - at) / width) ** 2) / 2);
      if (elevation && [1, 2, 5].includes(lead)) mV += elevation * Math.exp(-(((phase - 0.33) / 0.07) ** 2) / 2);
      if (elevation && [0, 4].includes(lead)) mV -= 0.6 * elevation * Math.exp(-(((phase - 0.33) / 0.07) ** 2) / 2);
      samples.push(Math.round(mV * 1000));
    }
    return { label, rate_hz: hz, start_s: 0, scale: 1, offset: 0, unit: 'uV', missing: null, derived: false, samples };
  });
  const of = (key, value, unit) => ({ key, value, unit });
  return {
    format: 'DICOM', leads, duration_s: duration, acquired: '2026-11-22T09:40:12', not_ecg: [], warnings: [],
    measurements: [of('rate_bpm', rate, 'bpm'), of('pr_ms', 156, 'ms'), of('qrs_ms', 92, 'ms'), of('qt_ms', 384, 'ms'), of('qtc_ms', 421, 'ms'), of('qrs_axis_deg', 48, 'deg')],
    statements: elevation ? ['窦性心律', 'ST 段抬高，考虑下壁心肌梗死可能'] : ['窦性心律', '正常心电图'],
    high_pass_hz: 0.05, low_pass_hz: 150, notch_hz: 50,
  };
}
