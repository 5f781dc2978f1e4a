import { expect, test } from 'vitest';
import { examName, personName } from './names';

test('names are shown as people write them', () => {
  expect(personName('李^秀英')).toBe('李秀英');
  expect(personName('Zhang^XiaoDong=张^小东=')).toBe('张小东');
  expect(personName('Wang^Li^^Dr')).toBe('Wang Li Dr');
  expect(personName('买买提·艾力')).toBe('买买提·艾力');
  expect(personName('')).toBe('');
});

test('exams are named in Chinese only where every word is known', () => {
  expect(examName('CHEST U PA', true)).toBe('胸部 后前位');
  expect(examName('HAND R PA', true)).toBe('右手 后前位');
  expect(examName('ECG', true)).toBe('心电图');
  expect(examName('CHEST special', true)).toBe('CHEST special');
  expect(examName('胸部正侧位', true)).toBe('胸部正侧位');
  expect(examName('HAND R PA', false)).toBe('HAND R PA');
});
