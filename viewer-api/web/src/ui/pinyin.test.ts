import { expect, test } from 'vitest';
import { initials } from './pinyin';

test('initials of common names', () => {
  const names = {
    张秀英: 'zxy', 刘建国: 'ljg', 欧阳娜娜: 'oynn', 曾伟: 'zw', 马明: 'mm', 安爱国: 'aag', 冯发: 'ff', 高贵: 'gg', 贾佳: 'jj',
    康凯: 'kk', 彭平: 'pp', 钱七: 'qq', 任荣: 'rr', 苏三: 'ss', 唐天: 'tt', 王五: 'ww', 徐霞: 'xx', 杨艳: 'yy', 白冰: 'bb',
    陈超: 'cc', 邓丹: 'dd', 何海: 'hh', 孟梅: 'mm', 倪宁: 'nn', 郑州: 'zz', 'Wang Li': 'wangli',
  };
  for (const [name, letters] of Object.entries(names)) expect(initials(name), name).toBe(letters);
});
