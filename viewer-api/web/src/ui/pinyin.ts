/**
 * First letters of Chinese names, from the collation order of the browser: no table is shipped. Each letter begins at
 * the character beside it; I, U and V begin no syllable.
 */
const FIRST: readonly (readonly [string, string])[] = [
  ['a', '阿'], ['b', '八'], ['c', '嚓'], ['d', '哒'], ['e', '妸'], ['f', '发'], ['g', '旮'], ['h', '哈'],
  ['j', '讥'], ['k', '咔'], ['l', '垃'], ['m', '妈'], ['n', '拏'], ['o', '噢'], ['p', '妑'], ['q', '七'],
  ['r', '呥'], ['s', '仨'], ['t', '它'], ['w', '穵'], ['x', '夕'], ['y', '丫'], ['z', '帀'],
];
/** Family names that are read otherwise than the character alone. */
const SURNAMES: Record<string, string | undefined> = { 单: 's', 曾: 'z', 解: 'x', 仇: 'q', 查: 'z', 翟: 'z', 覃: 'q', 朴: 'p' };

const order = new Intl.Collator('zh-Hans-CN-u-co-pinyin');

function initial(char: string): string {
  if (!/\p{Script=Han}/u.test(char)) return /[a-z0-9]/i.test(char) ? char.toLowerCase() : '';
  let letter = '';
  for (const [candidate, start] of FIRST) {
    if (order.compare(char, start) < 0) break;
    letter = candidate;
  }
  return letter;
}

/** `张秀英` → `zxy`. */
export function initials(name: string): string {
  return [...name].map((char, at) => (at === 0 ? SURNAMES[char] : undefined) ?? initial(char)).join('');
}
