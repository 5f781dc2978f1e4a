use super::*;

const MTU: u64 = 1_450;
const MS: Micros = 1_000;

/// A line with one queue, on which the window is always used: packets leave when the window lets them.
struct Line {
    pace: Pace,
    now: Micros,
    /// Bytes a second.
    rate: f64,
    rtt: Micros,
    free_at: Micros,
    /// Sent at, acknowledged at.
    flying: std::collections::VecDeque<(Micros, Micros)>,
}

impl Line {
    fn new(rate: f64, rtt: Micros, hint: Option<Hint>) -> Self {
        Self { pace: Pace::new(MTU, hint), now: 1, rate, rtt, free_at: 1, flying: [].into() }
    }

    fn in_flight(&self) -> u64 {
        self.flying.len() as u64 * MTU
    }

    fn run(&mut self, time: Micros) {
        let end = self.now + time;
        while self.now < end {
            self.now += MS;
            let mut heard = false;
            while let Some((sent, back)) = self.flying.front().copied() {
                if back > self.now {
                    break;
                }
                self.flying.pop_front();
                self.pace.acked(self.now, sent, MTU);
                heard = true;
            }
            if heard {
                let in_flight = self.in_flight();
                self.pace.acks_done(self.now, in_flight, false);
            }
            while self.in_flight() + MTU < self.pace.window(self.now) {
                self.free_at = self.free_at.max(self.now) + (MTU as f64 * 1e6 / self.rate) as Micros;
                self.flying.push_back((self.now, self.free_at + self.rtt));
                self.pace.sent(self.now, MTU);
            }
        }
    }

    /// Everything on its way is lost and nothing is heard for a time.
    fn away(&mut self, time: Micros) -> u64 {
        let (lost, sent) = (self.in_flight(), self.flying.back().map_or(0, |(sent, _)| *sent));
        self.flying.clear();
        self.now += time;
        // One packet gets through, and its acknowledgement tells what was lost.
        self.pace.sent(self.now, MTU);
        let back = self.now + self.rtt;
        self.pace.acked(back, self.now, MTU);
        self.pace.acks_done(back, lost, false);
        self.pace.lost(back, sent, lost);
        (self.now, self.free_at) = (back, back);
        lost
    }

    fn queue(&self) -> Micros {
        self.free_at.saturating_sub(self.now)
    }
}

#[test]
fn alone_it_finds_the_rate_and_keeps_a_quarter_of_a_round_trip_in_the_queue() {
    let mut line = Line::new(2.5e6, 70 * MS, None);
    line.run(2_000 * MS);
    let rate = line.pace.rate().unwrap();
    assert!((2.4e6..2.6e6).contains(&rate), "{rate}");
    assert!((5 * MS..35 * MS).contains(&line.queue()), "{}", line.queue());
}

#[test]
fn random_loss_does_not_move_the_window() {
    let mut line = Line::new(2.5e6, 70 * MS, None);
    line.run(2_000 * MS);
    let before = line.pace.window(line.now);
    for _ in 0..20 {
        line.run(50 * MS);
        line.pace.lost(line.now, line.now - 70 * MS, MTU);
    }
    line.run(100 * MS);
    let after = line.pace.window(line.now);
    assert!(after * 10 >= before * 9, "{before} became {after}");
}

#[test]
fn after_an_outage_half_of_the_line_is_taken_at_once_and_the_rest_in_a_round_trip() {
    let mut line = Line::new(2.5e6, 70 * MS, None);
    line.run(3_000 * MS);
    let full = line.pace.window(line.now);
    line.away(5_000 * MS);
    let half = line.pace.window(line.now);
    assert!((full * 4 / 10..full * 6 / 10).contains(&half), "{full}, then {half}");
    line.run(210 * MS);
    assert!(line.pace.window(line.now) * 10 >= full * 9);
}

#[test]
fn in_silence_two_packets_may_go_each_second_and_no_more() {
    let mut line = Line::new(2.5e6, 70 * MS, None);
    line.run(3_000 * MS);
    let (now, in_flight) = (line.now, line.in_flight());
    assert!(in_flight + MTU >= line.pace.window(now + 500 * MS), "not yet");
    let window = line.pace.window(now + 1_000 * MS);
    assert!((in_flight + 2 * MTU..in_flight + 4 * MTU).contains(&window));
    line.pace.sent(now + 1_000 * MS, MTU);
    assert!(in_flight + 2 * MTU >= line.pace.window(now + 1_100 * MS), "one question is enough for now");
}

#[test]
fn what_the_last_connection_learnt_is_believed_by_half_and_only_on_the_same_way() {
    let hint = Some(Hint { rate: 2.5e6, base: 70 * MS });
    let mut line = Line::new(2.5e6, 70 * MS, hint);
    line.run(75 * MS);
    assert!(line.pace.window(line.now) >= 87_000, "{}", line.pace.window(line.now));
    let mut other = Line::new(2.5e6, 300 * MS, hint);
    other.run(305 * MS);
    assert!(other.pace.window(other.now) <= 3 * INITIAL_PACKETS * MTU);
}

#[test]
fn a_pacer_that_divides_by_a_round_trip_of_seconds_is_told_a_larger_window() {
    let mut line = Line::new(2.5e6, 70 * MS, None);
    line.run(3_000 * MS);
    let window = line.pace.window;
    line.pace.in_flight = 0;
    line.pace.set_pacer_rtt(2_500 * MS);
    let told = line.pace.window(line.now);
    assert!(told > 20 * window, "{told} for {window}");
    line.pace.in_flight = window;
    assert_eq!(line.pace.window(line.now), window, "but not where it bounds what is on its way");
}

#[test]
fn nothing_makes_it_panic_or_stop() {
    let mut pace = Pace::new(MTU, None);
    pace.lost(5, 9, u64::MAX);
    pace.acked(1, 7, 3);
    pace.acks_done(1, 0, true);
    pace.sent(0, 1);
    pace.acked(0, 0, 1);
    pace.acks_done(0, u64::MAX / 2, false);
    pace.set_pacer_rtt(u64::MAX / 8);
    assert!(pace.window(u64::MAX) >= LEAST_PACKETS * MTU);
}
