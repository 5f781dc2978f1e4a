//! Congestion control in virtual time: real quinn over packets in memory, before (quinn's CUBIC and BBR) and after.

use crate::table::{line, print};
use quinn::congestion::{BbrConfig, CubicConfig};
use relay_tests::line::channel::Loss;
use relay_tests::line::flow::{Factory, Flow, Keys, PAYLOAD_SHARE, Race, Raced, race};
use relay_tests::line::net::Line;
use relay_tests::line::scenes::{HELD_OUT, SEEDS, Scene, TUNED};
use std::sync::Arc;
use std::time::Duration;

/// Of each flow.
const SECONDS: u64 = 60;
/// The start is not part of the steady state.
const STEADY: Duration = Duration::from_secs(5);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ours() -> Factory {
    Arc::new(relay_pace::Factory::new(|| tokio::time::Instant::now().into_std()))
}

fn controls() -> [(&'static str, Factory); 3] {
    [
        ("CUBIC (quinn)", Arc::new(CubicConfig::default())),
        ("BBR (quinn)", Arc::new(BbrConfig::default())),
        ("Relay", ours()),
    ]
}

fn flow(control: &Factory, from: u64, until: Duration) -> Flow {
    Flow { control: Arc::clone(control), from: s(from), until }
}

/// Prints all tables.
pub(super) fn run() -> anyhow::Result<()> {
    let keys = Keys::new()?;
    line(
        "Virtual time, real quinn. Share: goodput of rate x (1 - loss) x payload share; the queue in round trips.",
    )?;
    line(&format!("Payload share of a full packet: {PAYLOAD_SHARE:.4}\n"))?;
    line("Lines used for tuning, seed 1")?;
    alone(&keys, &TUNED, &SEEDS[..1])?;
    line("Lines and seeds not used for tuning (worst of the seeds)")?;
    alone(&keys, &HELD_OUT, &SEEDS[1..])?;
    line("Lines used for tuning, other seeds (worst of the seeds)")?;
    alone(&keys, &TUNED[..4], &SEEDS[1..])?;
    line("After an outage and a step of the rate, 1 % loss")?;
    changes(&keys)?;
    line("Two flows without loss; shares of what both got from 20 s to 90 s")?;
    fairness(&keys)
}

fn alone(keys: &Keys, scenes: &[Scene], seeds: &[u64]) -> anyhow::Result<()> {
    let heads =
        ["line", "control", "share from 5 s", "share of 60 s", "sent / payload", "queue p50", "queue p95"];
    let mut rows = Vec::new();
    for scene in scenes {
        for (name, control) in controls() {
            let mut worst = [f64::MAX, f64::MAX, 0.0, 0.0, 0.0];
            for seed in seeds {
                let end = s(SECONDS);
                let told =
                    Race { line: scene.line(), seed: *seed, time: end, flows: vec![flow(&control, 0, end)] };
                let raced = race(&told, keys)?;
                let limit = scene.rate() * (1.0 - scene.loss_share()) * PAYLOAD_SHARE;
                let (ran, rtt) = (&raced.flows[0], scene.rtt().as_secs_f64());
                let queue = |part: f64| raced.waiting(part, STEADY, end).as_secs_f64() / rtt;
                worst = [
                    worst[0].min(ran.goodput(STEADY, end) / limit),
                    worst[1].min(ran.goodput(Duration::ZERO, end) / limit),
                    worst[2].max(ran.wire_ratio()),
                    worst[3].max(queue(0.5)),
                    worst[4].max(queue(0.95)),
                ];
            }
            let mut row = vec![scene.name.to_owned(), name.to_owned()];
            row.extend(
                worst
                    .iter()
                    .enumerate()
                    .map(|(n, v)| if n < 3 { format!("{v:.3}") } else { format!("{v:.2}") }),
            );
            rows.push(row);
        }
    }
    print(&heads, &rows)
}

fn changes(keys: &Keys) -> anyhow::Result<()> {
    let heads = ["line", "change", "control", "first packet after", "full rate after, round trips"];
    let mut rows = Vec::new();
    for (mbit, rtt_ms) in [(60.0, 40), (20.0, 70), (2.0, 150), (20.0, 400)] {
        let scene = Scene { loss: Loss::Independent(0.01), ..Scene::clean("", mbit, rtt_ms) };
        let name = format!("{mbit} Mbit/s, {rtt_ms} ms");
        for (control_name, control) in controls() {
            for seconds in [1, 5, 20] {
                let (mut line, end) = (scene.line(), s(20 + seconds));
                line.up.outages.push((s(20), end));
                line.down.outages.push((s(20), end));
                let raced = one(keys, line, &control, end + s(20))?;
                let first = raced.flows[0].first_after(end);
                let after = first.map(|first| format!("{} ms", (first - end).as_millis()));
                let full = first.and_then(|first| full(&raced, &scene, first));
                rows.push(vec![
                    name.clone(),
                    format!("{seconds} s away"),
                    control_name.to_owned(),
                    after.unwrap_or_else(|| "never".to_owned()),
                    full.unwrap_or_else(|| "not in 20 s".to_owned()),
                ]);
            }
            for (before, words) in [(2, "rate doubles"), (4, "rate x 4")] {
                let mut line = scene.line();
                let bits = line.up.rate[0].1;
                line.up.rate = vec![(s(0), bits / before), (s(20), bits)];
                let raced = one(keys, line, &control, s(40))?;
                let full = full(&raced, &scene, s(20)).unwrap_or_else(|| "not in 20 s".to_owned());
                rows.push(vec![
                    name.clone(),
                    words.to_owned(),
                    control_name.to_owned(),
                    "-".to_owned(),
                    full,
                ]);
            }
        }
    }
    print(&heads, &rows)
}

fn one(keys: &Keys, line: Line, control: &Factory, end: Duration) -> anyhow::Result<Raced> {
    race(&Race { line, seed: 1, time: end, flows: vec![flow(control, 0, end)] }, keys)
}

fn full(raced: &Raced, scene: &Scene, from: Duration) -> Option<String> {
    let span = scene.rtt().max(Duration::from_millis(50));
    let after = raced.flows[0].reaches(0.9 * (1.0 - scene.loss_share()) * scene.rate(), from, span)?;
    Some(format!("{:.1}", after.as_secs_f64() / scene.rtt().as_secs_f64()))
}

fn fairness(keys: &Keys) -> anyhow::Result<()> {
    let heads =
        ["line", "queue, products", "first", "second, 5 s later", "first has", "second has", "queue p50"];
    let mut rows = Vec::new();
    let end = s(90);
    for (mbit, rtt_ms) in [(20.0, 40), (20.0, 80), (60.0, 40), (5.0, 100), (10.0, 60)] {
        for queue_bdp in [1.0, 4.0] {
            let scene = Scene { queue_bdp, ..Scene::clean("", mbit, rtt_ms) };
            let [(cubic, cubic_is), _, (relay, relay_is)] = controls();
            let pairs = [
                (relay, &relay_is, cubic, &cubic_is),
                (cubic, &cubic_is, relay, &relay_is),
                (relay, &relay_is, relay, &relay_is),
            ];
            for (first, a, second, b) in pairs {
                let told = Race {
                    line: scene.line(),
                    seed: 1,
                    time: end,
                    flows: vec![flow(a, 0, end), flow(b, 5, end)],
                };
                let raced = race(&told, keys)?;
                let got: Vec<f64> = raced.flows.iter().map(|flow| flow.goodput(s(20), end)).collect();
                let all: f64 = got.iter().sum();
                rows.push(vec![
                    format!("{mbit} Mbit/s, {rtt_ms} ms"),
                    format!("{queue_bdp}"),
                    first.to_owned(),
                    second.to_owned(),
                    format!("{:.2}", got[0] / all),
                    format!("{:.2}", got[1] / all),
                    format!("{} ms", raced.waiting(0.5, s(20), end).as_millis()),
                ]);
            }
        }
    }
    print(&heads, &rows)
}
