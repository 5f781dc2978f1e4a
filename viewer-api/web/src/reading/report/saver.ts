import type { Draft, DraftText } from '../../api/types';

export type SaveState =
  | { kind: 'clean'; savedAtMs: number | undefined }
  | { kind: 'dirty' }
  | { kind: 'saving' }
  | { kind: 'failed'; error: unknown };

export interface SaverPorts {
  save: (text: DraftText, replaces: number, epoch: number) => Promise<Draft>;
  /** Keeps unsaved words on this PC; `undefined` forgets them. */
  keep: (text: DraftText | undefined) => void;
  onState: (state: SaveState) => void;
}

const same = (a: DraftText, b: DraftText): boolean =>
  a.findings === b.findings && a.impression === b.impression && a.advice === b.advice && a.result === b.result && a.ecg_class === b.ecg_class;

/**
 * Saves a draft under the lease: one save at a time, each naming the revision it replaces. Words are kept on this PC
 * until the county has them. Knows no timer: the page calls `flush` every few seconds and when a field is left.
 */
export class DraftSaver {
  private saved: DraftText;
  private text: DraftText;
  private running: Promise<boolean> | undefined;

  constructor(private readonly ports: SaverPorts, text: DraftText, public revision: number, public epoch: number) {
    this.saved = text;
    this.text = text;
  }

  get words(): DraftText {
    return this.text;
  }

  get dirty(): boolean {
    return !same(this.text, this.saved);
  }

  write(text: DraftText): void {
    this.text = text;
    this.ports.keep(this.dirty ? text : undefined);
    if (!this.running) this.ports.onState(this.dirty ? { kind: 'dirty' } : { kind: 'clean', savedAtMs: undefined });
  }

  /** The county's draft, when it is the newer one and the reader wants it; or only its revision, to overwrite it. */
  rebase(draft: Draft, take: boolean): void {
    this.revision = draft.revision;
    this.saved = draft.text;
    this.write(take ? draft.text : this.text);
  }

  /** Saves what is not saved yet. True when the county has the newest words afterwards. */
  async flush(): Promise<boolean> {
    if (this.running) await this.running;
    if (!this.dirty) return true;
    this.running = this.once();
    const ok = await this.running;
    this.running = undefined;
    if (ok && this.dirty) this.ports.onState({ kind: 'dirty' });
    return ok && !this.dirty;
  }

  private async once(): Promise<boolean> {
    const text = this.text;
    this.ports.onState({ kind: 'saving' });
    try {
      const draft = await this.ports.save(text, this.revision, this.epoch);
      this.revision = draft.revision;
      this.saved = text;
      this.ports.keep(this.dirty ? this.text : undefined);
      this.ports.onState({ kind: 'clean', savedAtMs: draft.saved_at_ms });
      return true;
    } catch (error) {
      this.ports.onState({ kind: 'failed', error });
      return false;
    }
  }
}
