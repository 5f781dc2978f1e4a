import { useSyncExternalStore } from 'react';

const STORED = 'relay.sound';
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const isOn = (): boolean => localStorage.getItem(STORED) !== 'off';

export function useSound(): [boolean, (on: boolean) => void] {
  const on = useSyncExternalStore(subscribe, isOn);
  return [
    on,
    (next) => {
      localStorage.setItem(STORED, next ? 'on' : 'off');
      for (const listener of listeners) listener();
      if (next && 'Notification' in window && Notification.permission === 'default') void Notification.requestPermission();
    },
  ];
}

/** Three short tones and, where the person allowed it, a notification without patient data. */
export function ring(text: string): void {
  if (!isOn()) return;
  const audio = new AudioContext();
  // Without a gesture on the page the browser keeps the tone back; the row and the notification remain.
  if (audio.state === 'suspended') void audio.close();
  else beep(audio);
  if ('Notification' in window && Notification.permission === 'granted') void new Notification(text, { tag: 'relay-urgent' });
}

function beep(audio: AudioContext): void {
  for (const start of [0, 0.25, 0.5]) {
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = 880;
    volume.gain.value = 0.15;
    tone.connect(volume).connect(audio.destination);
    tone.start(audio.currentTime + start);
    tone.stop(audio.currentTime + start + 0.15);
  }
  setTimeout(() => void audio.close(), 1000);
}
