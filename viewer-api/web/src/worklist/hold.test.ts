import { expect, test } from 'vitest';
import type { WorkRow } from '../api/types';
import { inOrder, keepOrder } from './hold';
import { matches } from './filters';

const row = (id: number, more: Partial<WorkRow> = {}): WorkRow =>
  ({
    id, kind: 'xray', clinic_name: '城关卫生院', study_uid: '1.2', item: '胸部正位', state: 'waiting',
    patient: { name: '张秀英', local_id: '0001', national_id: '', sex: 'F', birth_date: '', age: '' }, ...more,
  }) as WorkRow;

test('while held, rows keep their places and new ones are counted', () => {
  const shown = inOrder([row(1), row(2), row(3)]);
  const held = keepOrder(shown, [row(9), row(3), row(1, { state: 'claimed' })]);
  expect(held.rows.map(({ row, gone }) => [row.id, row.state, gone])).toEqual([
    [1, 'claimed', false],
    [2, 'waiting', true],
    [3, 'waiting', false],
  ]);
  expect(held.waiting).toBe(1);
});

test('search finds by name, initials, number and clinic, all words needed', () => {
  for (const text of ['秀英', 'zxy', '0001', '城关', 'zxy 胸部', '']) expect(matches(row(1), text, undefined), text).toBe(true);
  expect(matches(row(1), 'zxy 腹部', undefined)).toBe(false);
  expect(matches(row(1), '', 'ecg')).toBe(false);
});
