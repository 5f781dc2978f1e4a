import { expect, test } from 'vitest';
import { ServerClock } from '../api/clock';
import { remaining } from './countdown';

test('time left counts down and turns amber below five minutes', () => {
  expect(remaining(455_000 + 1_000_000, 1_000_000)).toMatchObject({ level: 'calm', clock: '07:35' });
  expect(remaining(1_299_999, 1_000_000)).toMatchObject({ level: 'soon', clock: '04:59' });
});

test('time over counts up', () => {
  expect(remaining(1_000_000, 1_455_000)).toMatchObject({ level: 'over', clock: '07:35', ms: -455_000 });
  expect(remaining(0, 4_055_000)).toMatchObject({ level: 'over', clock: '1:07:35' });
});

test('a PC clock that is an hour off changes no countdown', () => {
  let ticks = 500;
  const clock = new ServerClock(() => ticks);
  clock.sync(7_000_000);
  ticks += 2_000;
  expect(clock.now()).toBe(7_002_000);
  expect(remaining(7_062_000, clock.now()).clock).toBe('01:00');
});

test('the newest answer of the server wins', () => {
  const clock = new ServerClock(() => 0);
  clock.sync(1_000);
  clock.sync(900);
  expect(clock.now()).toBe(900);
});
