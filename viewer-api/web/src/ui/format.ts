import dayjs from 'dayjs';
import type { Patient } from '../api/types';
import type { Translate } from '../i18n';
import { zh } from '../i18n/zh';

export const clockTime = (ms: number): string => dayjs(ms).format('HH:mm:ss');
export const shortTime = (ms: number): string =>
  dayjs(ms).isSame(dayjs(), 'day') ? dayjs(ms).format('HH:mm') : dayjs(ms).format('MM-DD HH:mm');
export const fullTime = (ms: number): string => dayjs(ms).format('YYYY-MM-DD HH:mm');

/** `045Y` as 45 岁; from the birth date when the file states no age. */
export function ageText(patient: Patient, t: Translate, atMs: number): string {
  const stated = /^0*(\d+)([YMWD])$/.exec(patient.age);
  if (stated) return t(`age.${stated[2] as 'Y' | 'M' | 'W' | 'D'}`, { n: stated[1] ?? '' });
  if (/^\d{8}$/.test(patient.birth_date)) {
    const birth = dayjs(`${patient.birth_date.slice(0, 4)}-${patient.birth_date.slice(4, 6)}-${patient.birth_date.slice(6)}`);
    const years = dayjs(atMs).diff(birth, 'year');
    return years >= 1 ? t('age.Y', { n: years }) : t('age.M', { n: Math.max(0, dayjs(atMs).diff(birth, 'month')) });
  }
  return patient.age || '—';
}

export function sexText(sex: string, t: Translate): string {
  const key = `sex.${sex}` as const;
  return key in zh ? t(key as 'sex.M') : sex;
}

export const birthText = (date: string): string => date.replace(/^(\d{4})(\d{2})(\d{2})$/, '$1-$2-$3');

/** A duration in words: `1 小时 05 分`, `3 分 20 秒`, `8 秒`. */
export function durationText(ms: number, t: Translate): string {
  const seconds = Math.round(ms / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (h > 0) return `${h} ${t('unit.h')} ${String(m).padStart(2, '0')} ${t('unit.min')}`;
  return m > 0 ? `${m} ${t('unit.min')} ${String(s).padStart(2, '0')} ${t('unit.s')}` : `${s} ${t('unit.s')}`;
}
