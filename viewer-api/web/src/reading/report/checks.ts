import type { DraftText, Kind, Study } from '../../api/types';
import type { Key } from '../../i18n/zh';

/** `stop`: cannot be signed; `confirm`: only after the reader says he has checked; `hint`: shown. */
export type Level = 'stop' | 'confirm' | 'hint';

export interface Check {
  level: Level;
  key: Key;
  /** Values of the words; those in `words` are keys themselves. */
  values?: Record<string, string>;
  words?: Record<string, Key>;
}

/** Words that belong to one sex. */
const MALE = /前列腺|睾丸|阴茎|精囊|附睾/;
const FEMALE = /子宫|卵巢|输卵管|阴道|宫颈|妊娠|节育环/;
/** A side said of something: 右侧, 左足, 右肺. 左右 as a pair, 心 and ECG terms (左束支, 右室) say nothing about the film. */
const SIDE = /([左右])(?!右|心|室|房|束|前分支|后分支|主干|冠)(?:[侧足踝膝髋肩肘腕手跟胫腓股桡尺肱锁髂肋上下中]|[小大前]?[腿臂趾指]|第)/gu;
const CRITICAL: Record<'xray' | 'ecg', RegExp> = {
  xray: /张力性气胸|血气胸|膈下游离气体|消化道穿孔|膈疝|骨折(?:伴)?脱位|全肺不张|大量胸腔积液|白肺|急性肺水肿|绞窄性肠梗阻|纵隔(?:明显)?增宽/,
  ecg: /急性(?:[^，。；]{0,8})心肌梗死|再次梗死|室扑|室颤|心室颤动|尖端扭转|多形性室速|持续性室速|室性心动过速|三度房室阻滞|高度房室阻滞|二度II型|心脏停搏|R[- ]?on[- ]?T|预激(?:[^，。；]{0,6})房颤|高钾血症/i,
};
/** 未见气胸, 无骨折: the word is there, the finding is not. */
const DENIED = /(?:未见|无|不考虑|排除|除外|未发现|未提示)[^，。；\n]{0,10}$/;

const whole = (text: DraftText): string => [text.findings, text.impression, text.advice].join('\n');

function sideCheck(text: string, study: Study): Check | undefined {
  const sides = new Set(study.objects.filter((o) => o.current && o.rows > 0).map((o) => o.laterality));
  const [side] = sides;
  if (sides.size !== 1 || (side !== 'L' && side !== 'R')) return undefined;
  const wrong = side === 'L' ? '右' : '左';
  const found = [...text.matchAll(SIDE)];
  const bad = found.find((match) => match[1] === wrong);
  if (!bad) return undefined;
  const both = found.some((match) => match[1] !== wrong);
  return { level: 'confirm', key: both ? 'check.sideBoth' : 'check.side', values: { word: bad[0] }, words: { image: side === 'L' ? 'film.side.L' : 'film.side.R' } };
}

/** A critical word that the text asserts. */
export function criticalWord(text: string, kind: Kind): string | undefined {
  if (kind !== 'xray' && kind !== 'ecg') return undefined;
  for (const match of text.matchAll(new RegExp(CRITICAL[kind], 'giu'))) {
    if (!DENIED.test(text.slice(0, match.index))) return match[0];
  }
  return undefined;
}

/** What must be right, or looked at once more, before a report is signed. */
export function checksOf(text: DraftText, study: Study, machineStatements: readonly string[] = []): Check[] {
  const checks: Check[] = [];
  const all = whole(text);
  const { kind, patient } = study.row;
  for (const field of ['findings', 'impression'] as const) {
    if (!text[field].trim()) checks.push({ level: 'stop', key: 'check.empty', words: { field: `edit.${field}` } });
  }
  const open = /【[^】]*】/.exec(all);
  if (open) checks.push({ level: 'stop', key: 'check.placeholder', values: { what: open[0] } });
  if (!text.result) checks.push({ level: 'stop', key: 'check.result' });
  if (kind === 'ecg' && !text.ecg_class) checks.push({ level: 'stop', key: 'check.ecgClass' });
  const side = sideCheck(all, study);
  if (side) checks.push(side);
  const organ = patient.sex === 'F' ? MALE.exec(all) : patient.sex === 'M' ? FEMALE.exec(all) : null;
  if (organ) checks.push({ level: 'confirm', key: 'check.sex', values: { word: organ[0] }, words: { sex: `sex.${patient.sex as 'M' | 'F'}` } });
  const machine = machineStatements.join('').replace(/\s/g, '');
  if (machine && text.impression.replace(/[\s；;，,。]/g, '') === machine.replace(/[；;，,。]/g, '')) {
    checks.push({ level: 'confirm', key: 'check.machineOnly' });
  }
  const critical = criticalWord(all, kind);
  if (critical && study.critical.length === 0) checks.push({ level: 'confirm', key: 'check.critical', values: { word: critical } });
  return checks;
}
