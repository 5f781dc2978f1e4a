import { expect, test } from 'vitest';
import { diff } from './diff';

const said = (before: string, after: string) => diff(before, after).map(({ kind, text }) => `${{ same: '=', added: '+', removed: '-' }[kind]}${text}`);

test('one changed character is one removed and one added', () => {
  expect(said('右肺下叶见斑片影。', '左肺下叶见斑片影。')).toEqual(['-右', '+左', '=肺下叶见斑片影。']);
});

test('numbers and latin words change whole', () => {
  expect(said('结节约 12 mm', '结节约 15 mm')).toEqual(['=结节约 ', '-12', '+15', '= mm']);
  expect(said('见 PVC', '见 PAC')).toEqual(['=见 ', '-PVC', '+PAC']);
});

test('equal texts have no difference, empty ones only one side', () => {
  expect(said('同', '同')).toEqual(['=同']);
  expect(said('', '新')).toEqual(['+新']);
  expect(said('旧', '')).toEqual(['-旧']);
  expect(said('', '')).toEqual([]);
});

test('both texts can be read from the pieces, also from long ones', () => {
  const before = '双肺纹理清晰，未见实质性病变。\n'.repeat(300);
  const after = `${before.slice(0, 1000)}右肺上叶见结节。${before.slice(1200)}终`;
  const pieces = diff(before, after);
  const side = (drop: string) => pieces.filter(({ kind }) => kind !== drop).map(({ text }) => text).join('');
  expect(side('added')).toBe(before);
  expect(side('removed')).toBe(after);
});
