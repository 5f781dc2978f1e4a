import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from 'react';
import { enDesk } from './en-desk';
import { enReading } from './en-reading';
import { type Key, zh } from './zh';

export type Language = 'zh-CN' | 'en';
export type Translate = (key: Key, values?: Record<string, string | number>) => string;

const DICTIONARIES: Record<Language, Record<Key, string>> = { 'zh-CN': zh, en: { ...enDesk, ...enReading } };
const STORED = 'relay.language';

/** The words of a key; `{name}` is replaced by the value of that name. */
export function translate(language: Language, key: Key, values?: Record<string, string | number>): string {
  const text = DICTIONARIES[language][key];
  return values ? text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole)) : text;
}

interface I18n {
  language: Language;
  t: Translate;
  /** The words of a key built from a word of the API; the bare word when this page does not know it. */
  word: (prefix: string, word: string) => string;
  setLanguage: (language: Language) => void;
}

const Context = createContext<I18n | undefined>(undefined);

export function I18nProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(() =>
    localStorage.getItem(STORED) === 'en' ? 'en' : 'zh-CN',
  );
  useEffect(() => {
    localStorage.setItem(STORED, language);
    document.documentElement.lang = language;
    document.title = translate(language, 'app.title');
  }, [language]);
  const value = useMemo<I18n>(() => {
    const t: Translate = (key, values) => translate(language, key, values);
    const word = (prefix: string, word: string) => {
      const key = `${prefix}.${word}`;
      return key in zh ? t(key as Key) : word;
    };
    return { language, t, word, setLanguage };
  }, [language]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

export function useI18n(): I18n {
  const value = useContext(Context);
  if (!value) throw new Error('no I18nProvider');
  return value;
}
