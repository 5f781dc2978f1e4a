/**
 * A person's name as people write it. DICOM writes family^given with carets, and may write the name in up to three
 * scripts joined by `=`: the one in Chinese characters is shown where there is one.
 */
export function personName(raw: string): string {
  const forms = raw.split('=').map((form) => form.trim()).filter(Boolean);
  const form = forms.find((one) => /\p{Script=Han}/u.test(one)) ?? forms[0] ?? '';
  const parts = form.split('^').map((part) => part.trim()).filter(Boolean);
  return parts.join(/^[\p{Script=Han}·]+$/u.test(parts.join('')) ? '' : ' ');
}

const PARTS: Record<string, string | undefined> = {
  CHEST: '胸部', THORAX: '胸部', ABDOMEN: '腹部', PELVIS: '骨盆', HIP: '髋关节', HAND: '手', FINGER: '手指', WRIST: '腕关节',
  FOREARM: '前臂', ELBOW: '肘关节', ARM: '上臂', HUMERUS: '肱骨', SHOULDER: '肩关节', CLAVICLE: '锁骨', FOOT: '足', TOE: '足趾',
  ANKLE: '踝关节', LEG: '小腿', LOWERLEG: '小腿', KNEE: '膝关节', FEMUR: '股骨', THIGH: '大腿', SKULL: '头颅', HEAD: '头颅',
  CSPINE: '颈椎', TSPINE: '胸椎', LSPINE: '腰椎', SPINE: '脊柱', RIB: '肋骨', RIBS: '肋骨', CALCANEUS: '跟骨', PATELLA: '髌骨',
  EXTREMITY: '四肢', NECK: '颈部', NASALBONE: '鼻骨', SCAPULA: '肩胛骨', SSPINE: '骶尾椎', PARANASALSINUSES: '鼻窦',
};
const VIEWS: Record<string, string | undefined> = {
  PA: '后前位', AP: '前后位', LL: '左侧位', RL: '右侧位', LAT: '侧位', LATERAL: '侧位', OBLIQUE: '斜位', LLO: '左斜位', RLO: '右斜位',
};
const SIDES: Record<string, string | undefined> = { L: '左', R: '右', B: '双侧', U: '' };

/** An exam as a Chinese reader calls it: `HAND R PA` → 右手 后前位. What is not only known words stays as it came. */
export function examName(raw: string, chinese: boolean): string {
  if (!chinese) return raw;
  if (/^(ECG|EKG)$/i.test(raw.trim())) return '心电图';
  const words = raw.trim().split(/\s+/);
  let [side, part] = ['', ''];
  const views: string[] = [];
  for (const word of words) {
    const key = word.toUpperCase();
    if (PARTS[key] && !part) part = PARTS[key];
    else if (SIDES[key] !== undefined) side = SIDES[key];
    else if (VIEWS[key]) views.push(VIEWS[key]);
    else return raw;
  }
  return part ? [side + part, ...views].join(' ') : raw;
}
