//! Congestion control on lines in virtual time: real quinn, packets in memory. Everything is a function of the seed, so that
//! figures can be asserted.
#![expect(clippy::unwrap_used, reason = "scene helpers are test code too")]

use quinn::congestion::CubicConfig;
use relay_tests::line::channel::Loss;
use relay_tests::line::flow::{Factory, Flow, Keys, PAYLOAD_SHARE, Race, Raced, race};
use relay_tests::line::net::Line;
use relay_tests::line::scenes::{HELD_OUT, SEEDS, Scene, TUNED};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ours() -> Factory {
    Arc::new(relay_pace::Factory::new(|| tokio::time::Instant::now().into_std()))
}

fn cubic() -> Factory {
    Arc::new(CubicConfig::default())
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::new().unwrap())
}

fn run(line: Line, seed: u64, seconds: u64, flows: &[(Factory, u64)]) -> Raced {
    let until = s(seconds);
    let flow =
        |(control, from): &(Factory, u64)| Flow { control: Arc::clone(control), from: s(*from), until };
    let flows = flows.iter().map(flow).collect();
    race(&Race { line, seed, time: until, flows }, keys()).unwrap()
}

fn limit(scene: &Scene) -> f64 {
    scene.rate() * (1.0 - scene.loss_share()) * PAYLOAD_SHARE
}

#[test]
fn two_runs_of_one_seed_are_the_same_to_the_last_byte() {
    let scene = TUNED[2];
    let [one, other] = [0, 1].map(|_| run(scene.line(), 5, 10, &[(ours(), 0)]));
    assert_eq!(one.flows[0].payload, other.flows[0].payload);
    assert_eq!(one.flows[0].wire, other.flows[0].wire);
    assert_eq!(one.waiting, other.waiting);
}

#[test]
fn the_line_is_kept_full_and_its_queue_short_on_every_line_tuned_on_or_not() {
    for (scene, seed) in TUNED.iter().chain(&HELD_OUT).zip(SEEDS.iter().cycle()) {
        let seconds = if scene.rtt_ms > 300 { 60 } else { 30 };
        let raced = run(scene.line(), *seed, seconds, &[(ours(), 0)]);
        let (from, to) = (s(5), s(seconds));
        let goodput = raced.flows[0].goodput(from, to) / limit(scene);
        assert!(goodput >= 0.97, "{}, seed {seed}: goodput {goodput:.3} of the limit", scene.name);
        let wire = raced.flows[0].wire_ratio();
        let allowed = if scene.queue_bdp < 0.25 { 1.12 } else { 1.10 };
        assert!(wire <= allowed, "{}, seed {seed}: {wire:.3} bytes sent for each", scene.name);
        let waiting = raced.waiting(0.5, from, to).as_secs_f64() / scene.rtt().as_secs_f64();
        assert!(waiting <= 0.5, "{}, seed {seed}: a queue of {waiting:.2} round trips", scene.name);
    }
}

#[test]
fn one_lost_packet_in_a_hundred_takes_nine_tenths_of_the_line_from_cubic() {
    let scene = TUNED[2];
    let raced = run(scene.line(), 1, 30, &[(cubic(), 0)]);
    let goodput = raced.flows[0].goodput(s(5), s(30)) / limit(&scene);
    assert!(goodput < 0.2, "the line would not be what it is meant to be: {goodput:.3}");
}

#[test]
fn three_round_trips_after_the_first_packet_that_gets_through_an_outage_the_line_is_full() {
    for (mbit, rtt_ms) in [(20.0, 70), (2.0, 150), (60.0, 40)] {
        let scene = Scene { loss: Loss::Independent(0.01), ..Scene::clean("", mbit, rtt_ms) };
        for seconds in [1, 5, 20] {
            let (mut line, end) = (scene.line(), s(10 + seconds));
            line.up.outages.push((s(10), end));
            line.down.outages.push((s(10), end));
            let raced = run(line, 1, 15 + seconds, &[(ours(), 0)]);
            let first = raced.flows[0].first_after(end).unwrap();
            let longest = Duration::from_millis(1_000) + scene.rtt() / 2;
            assert!(first - end <= longest, "{mbit} Mbit/s: silent for {:?} more", first - end);
            let span = scene.rtt().max(Duration::from_millis(50));
            let full = raced.flows[0].reaches(0.9 * 0.99 * scene.rate(), first, span).unwrap();
            assert!(full <= 3 * scene.rtt(), "{mbit} Mbit/s, {seconds} s away: full after {full:?}");
        }
    }
}

#[test]
fn three_round_trips_after_the_rate_has_doubled_the_line_is_full() {
    for (mbit, rtt_ms) in [(20.0, 70), (2.0, 150), (60.0, 40), (20.0, 400)] {
        let scene = Scene { loss: Loss::Independent(0.01), ..Scene::clean("", mbit, rtt_ms) };
        let mut line = scene.line();
        let bits = line.up.rate[0].1;
        line.up.rate = vec![(s(0), bits / 2), (s(20), bits)];
        let raced = run(line, 1, 30, &[(ours(), 0)]);
        let full =
            raced.flows[0].reaches(0.9 * 0.99 * scene.rate(), s(20), scene.rtt().max(s(1) / 20)).unwrap();
        assert!(full <= 3 * scene.rtt(), "{mbit} Mbit/s, {rtt_ms} ms: full after {full:?}");
    }
}

#[test]
fn whoever_comes_first_cubic_and_another_clinic_have_their_share_and_so_have_we() {
    for (mbit, rtt_ms, queue_bdp) in [(20.0, 80, 1.0), (20.0, 80, 4.0), (5.0, 100, 4.0)] {
        let scene = Scene { queue_bdp, ..Scene::clean("", mbit, rtt_ms) };
        let pairs = [(0, cubic(), 5), (5, cubic(), 0), (0, ours(), 5)];
        for (mine, other, theirs) in pairs {
            let raced = run(scene.line(), 1, 90, &[(ours(), mine), (other, theirs)]);
            let [us, them] = [0, 1].map(|n| raced.flows[n].goodput(s(20), s(90)));
            let share = us / (us + them);
            assert!((0.3..=0.7).contains(&share), "{mbit} Mbit/s, {queue_bdp}, {mine} s: {share:.2}");
            assert!(us + them >= 0.97 * limit(&scene), "the line is full");
        }
    }
}
