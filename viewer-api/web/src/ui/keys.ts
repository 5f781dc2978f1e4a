import { useEffect, useRef } from 'react';

/** Physical key with its modifiers: `KeyN`, `Shift+KeyR`, `Ctrl+Enter`, `Alt+Digit1`. */
export function keyName(event: KeyboardEvent): string {
  const parts = [event.ctrlKey || event.metaKey ? 'Ctrl' : '', event.altKey ? 'Alt' : '', event.shiftKey ? 'Shift' : ''];
  return [...parts.filter(Boolean), event.code].join('+');
}

/** Where a key press belongs to the text, not to the page. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  if (!target?.closest) return false;
  return target.isContentEditable || target.closest('input, textarea, select, [role="combobox"]') !== null;
}

export type KeyMap = Record<string, (() => void) | undefined>;

/**
 * Keys of a page by physical key, so that a Chinese input method cannot change them. A press during composition is never
 * taken; one inside a text field only with Ctrl or Alt.
 */
export function useKeys(map: KeyMap, enabled = true): void {
  const current = useRef(map);
  useEffect(() => {
    current.current = map;
  });
  useEffect(() => {
    if (!enabled) return undefined;
    const onKey = (event: KeyboardEvent) => {
      if (event.isComposing || event.key === 'Process' || event.defaultPrevented) return;
      if (isTyping(event) && !event.ctrlKey && !event.metaKey && !event.altKey) return;
      if (document.querySelector('.ant-modal-wrap:not([style*="display: none"])')) return;
      const act = current.current[keyName(event)];
      if (!act) return;
      event.preventDefault();
      act();
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, [enabled]);
}
