import { expect, test } from 'vitest';
import { EMPTY_TEXT, type Draft, type DraftText } from '../../api/types';
import { DraftSaver, type SaveState } from './saver';

const words = (findings: string): DraftText => ({ ...EMPTY_TEXT, findings });

function scene(fail: () => boolean = () => false) {
  const calls: [string, number, number][] = [];
  const kept: (string | undefined)[] = [];
  const states: SaveState['kind'][] = [];
  let release: (() => void) | undefined;
  const gate = { held: false, open: () => release?.() };
  const saver = new DraftSaver(
    {
      save: async (text, replaces, epoch): Promise<Draft> => {
        calls.push([text.findings, replaces, epoch]);
        if (gate.held) await new Promise<void>((done) => (release = done));
        if (fail()) throw new Error('cut');
        return { text, revision: replaces + 1, saved_at_ms: 7, author: 'liu' };
      },
      keep: (text) => void kept.push(text?.findings),
      onState: ({ kind }) => void states.push(kind),
    },
    EMPTY_TEXT, 3, 9,
  );
  return { saver, calls, kept, states, gate };
}

test('every save names the revision it replaces', async () => {
  const { saver, calls } = scene();
  saver.write(words('一'));
  expect(await saver.flush()).toBe(true);
  saver.write(words('一二'));
  expect(await saver.flush()).toBe(true);
  expect(await saver.flush()).toBe(true);
  expect(calls).toEqual([['一', 3, 9], ['一二', 4, 9]]);
});

test('words typed while a save is on its way are kept and saved next', async () => {
  const { saver, calls, kept, gate } = scene();
  gate.held = true;
  saver.write(words('一'));
  const first = saver.flush();
  saver.write(words('一二'));
  gate.held = false;
  gate.open();
  expect(await first).toBe(false);
  expect(kept.at(-1)).toBe('一二');
  expect(await saver.flush()).toBe(true);
  expect(calls.map(([text]) => text)).toEqual(['一', '一二']);
  expect(kept.at(-1)).toBeUndefined();
});

test('a failed save keeps the words on this PC and can be repeated', async () => {
  let cut = true;
  const { saver, kept, states } = scene(() => cut);
  saver.write(words('一'));
  expect(await saver.flush()).toBe(false);
  expect([kept.at(-1), states.at(-1)]).toEqual(['一', 'failed']);
  cut = false;
  expect(await saver.flush()).toBe(true);
  expect([kept.at(-1), saver.revision]).toEqual([undefined, 4]);
});

test('a draft changed elsewhere is taken or overwritten, as the reader says', () => {
  const { saver } = scene();
  saver.write(words('mine'));
  saver.rebase({ text: words('theirs'), revision: 8, saved_at_ms: 0, author: 'zhang' }, false);
  expect([saver.words.findings, saver.revision, saver.dirty]).toEqual(['mine', 8, true]);
  saver.rebase({ text: words('theirs'), revision: 8, saved_at_ms: 0, author: 'zhang' }, true);
  expect([saver.words.findings, saver.dirty]).toEqual(['theirs', false]);
});
