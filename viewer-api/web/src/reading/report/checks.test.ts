import { expect, test } from 'vitest';
import { EMPTY_TEXT, type DraftText, type Study } from '../../api/types';
import { checksOf, criticalWord } from './checks';

const study = (more: { kind?: string; sex?: string; sides?: string[]; critical?: unknown[] } = {}): Study =>
  ({
    row: { kind: more.kind ?? 'xray', patient: { sex: more.sex ?? 'M' } },
    objects: (more.sides ?? ['L']).map((laterality) => ({ laterality, current: true, rows: 100 })),
    critical: more.critical ?? [],
  }) as unknown as Study;
const text = (more: Partial<DraftText> = {}): DraftText => ({ ...EMPTY_TEXT, findings: '骨质完整。', impression: '未见骨折。', result: 'negative', ...more });
const keys = (...of: Parameters<typeof checksOf>) => checksOf(...of).map(({ key, level }) => `${level} ${key}`);

test('a complete report passes', () => {
  expect(keys(text(), study())).toEqual([]);
  expect(keys(text({ findings: '左足诸骨骨质完整。' }), study())).toEqual([]);
});

test('empty fields, placeholders and missing choices stop', () => {
  expect(keys(EMPTY_TEXT, study({ kind: 'ecg' }))).toEqual([
    'stop check.empty', 'stop check.empty', 'stop check.result', 'stop check.ecgClass',
  ]);
  expect(keys(text({ findings: '心胸比约【CTR】。' }), study())).toEqual(['stop check.placeholder']);
});

test('a left foot that is reported as 右足 stops until it is checked', () => {
  expect(checksOf(text({ findings: '右足第五跖骨基底部骨折。' }), study())).toMatchObject([
    { level: 'confirm', key: 'check.side', values: { word: '右足' }, words: { image: 'film.side.L' } },
  ]);
  expect(keys(text({ findings: '左足较右足肿胀。' }), study())).toEqual(['confirm check.sideBoth']);
});

test('sides inside a chest film and ECG terms are no conflict', () => {
  expect(keys(text({ findings: '右肺清晰，右下肺纹理增多。' }), study({ sides: [''] }))).toEqual([]);
  expect(keys(text({ findings: '右束支传导阻滞，右心室肥厚。' }), study({ sides: ['L'] }))).toEqual([]);
  expect(keys(text({ findings: '左右对称。' }), study())).toEqual([]);
});

test('organs of the other sex are asked about', () => {
  expect(keys(text({ advice: '前列腺超声。' }), study({ sex: 'F' }))).toEqual(['confirm check.sex']);
  expect(keys(text({ advice: '前列腺超声。' }), study({ sex: 'M' }))).toEqual([]);
});

test('a critical finding without a notice is asked about, a denied one is not', () => {
  expect(criticalWord('右侧张力性气胸，纵隔左移。', 'xray')).toBe('张力性气胸');
  expect(criticalWord('未见膈下游离气体。', 'xray')).toBeUndefined();
  expect(criticalWord('急性下壁心肌梗死', 'ecg')).toBe('急性下壁心肌梗死');
  expect(keys(text({ impression: '膈下游离气体。' }), study({ critical: [{}] }))).toEqual([]);
});

test('the machine’s own words are not a reading', () => {
  const ecg = text({ impression: '窦性心律；正常心电图', ecg_class: 'normal' });
  expect(keys(ecg, study({ kind: 'ecg', sides: [] }), ['窦性心律', '正常心电图'])).toEqual(['confirm check.machineOnly']);
});
