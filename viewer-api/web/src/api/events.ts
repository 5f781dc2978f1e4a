import { serverClock } from './clock';
import type { LiveEvent } from './types';

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 15_000;

export interface LiveHandlers {
  /** The stream stands (again): read the lists anew, from here nothing is missed. */
  onOpen: () => void;
  onEvent: (event: LiveEvent) => void;
  onLost: () => void;
}

/** Live events that resume after the last one seen, and come back by themselves. */
export class LiveEvents {
  private source: EventSource | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private last: string | undefined;
  private retryMs = FIRST_RETRY_MS;
  private closed = false;

  constructor(private readonly handlers: LiveHandlers) {
    this.open();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.source?.close();
  }

  private open(): void {
    const after = this.last === undefined ? '' : `?after=${encodeURIComponent(this.last)}`;
    const source = new EventSource(`/api/v1/events${after}`);
    this.source = source;
    source.addEventListener('hello', (message) => {
      const hello = JSON.parse(message.data as string) as { now_ms?: number };
      if (hello.now_ms) serverClock.sync(hello.now_ms);
      this.retryMs = FIRST_RETRY_MS;
      this.handlers.onOpen();
    });
    source.addEventListener('message', (message) => {
      if (message.lastEventId) this.last = message.lastEventId;
      this.handlers.onEvent(JSON.parse(message.data as string) as LiveEvent);
    });
    // The county counts anew, from a backup: what is shown is read again, and resumed from there.
    source.addEventListener('reset', (message) => {
      this.last = message.lastEventId || undefined;
      this.handlers.onOpen();
    });
    source.addEventListener('error', () => {
      this.handlers.onLost();
      // The browser retries a cut stream itself; a refused one stays closed and is opened anew here.
      if (source.readyState === EventSource.CLOSED && !this.closed) {
        this.timer = setTimeout(() => this.open(), this.retryMs);
        this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
      }
    });
  }
}
