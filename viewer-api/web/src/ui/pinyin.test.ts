import { expect, test } from 'vitest';
import { initials } from './pinyin';

test('initials of common names', () => {
  expect(initials('张秀英')).toBe('zxy');
  expect(initials('刘建国')).toBe('ljg');
  expect(initials('欧阳娜娜')).toBe('oynn');
  expect(initials('曾伟')).toBe('zw');
  expect(initials('Wang Li')).toBe('wangli');
});
