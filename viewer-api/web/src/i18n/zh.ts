import { zhDesk } from './zh-desk';
import { zhReading } from './zh-reading';

/** The words of the pages in Chinese. They define the keys: a key that English lacks does not compile. */
export const zh = { ...zhDesk, ...zhReading } as const;

export type Key = keyof typeof zh;
export type DeskKey = keyof typeof zhDesk;
export type ReadingKey = keyof typeof zhReading;
