//! The link under random schedules, in virtual time. A failing seed is kept in the file beside this one.
#![expect(clippy::unwrap_used, reason = "scene helpers are test code too")]

use proptest::prelude::*;
use relay_core::clock::UtcMs;
use relay_core::letter::LetterKind;
use relay_core::study::{Class, Encoding};
use relay_tests::sim::clinic::{grain, noise};
use relay_tests::sim::world::{Fault, Line, World};

/// After the last fault the line is good: everything must have crossed within this time (ms). The longest wait of the
/// protocol is the receipt deadline, doubled a few times by faults, and the pause when a disk was full.
const GOOD_LINE_MS: u64 = 20 * 60_000;
/// Faults and new work come within this time (ms).
const BAD_TIME_MS: u64 = 60_000;

#[derive(Debug, Clone)]
enum Work {
    Study { class: Class, sizes: Vec<(usize, Encoding)> },
    LateObject { study: usize, size: usize },
    Raise { study: usize },
    Letter { size: usize },
    Note,
}

#[derive(Debug, Clone)]
struct Scenario {
    seed: u64,
    line: Line,
    work: Vec<(u64, Work)>,
    faults: Vec<(u64, Fault)>,
}

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(Class::ALL)
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![1..2_000_usize, 50_000..140_000_usize, 200_000..900_000_usize]
}

fn encoding() -> impl Strategy<Value = Encoding> {
    prop::sample::select(vec![Encoding::Identity, Encoding::Zstd, Encoding::Film])
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        4 => (class(), prop::collection::vec((size(), encoding()), 1..4))
            .prop_map(|(class, sizes)| Work::Study { class, sizes }),
        1 => (0..8_usize, size()).prop_map(|(study, size)| Work::LateObject { study, size }),
        1 => (0..8_usize).prop_map(|study| Work::Raise { study }),
        1 => size().prop_map(|size| Work::Letter { size }),
        1 => Just(Work::Note),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => (0..20_000_u64).prop_map(|gateway_knows_after| Fault::Cut { gateway_knows_after }),
        2 => (0..20_000_u64).prop_map(|gateway_knows_after| Fault::Leave { gateway_knows_after }),
        1 => Just(Fault::AgentRestart),
        2 => Just(Fault::GatewayCrash),
        1 => (1_000..10_000_u64).prop_map(|ms| Fault::DiskFull { ms }),
        1 => Just(Fault::Backup),
        1 => Just(Fault::Restore),
        1 => (0..8_usize).prop_map(|nth| Fault::Rot { nth }),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    (1..400_u64, 0..200_u64, 20..3_000_u64, 0..300_u64).prop_map(
        |(latency_ms, jitter_ms, rate, custody_ms)| Line { latency_ms, jitter_ms, rate, custody_ms },
    )
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let work = prop::collection::vec((0..BAD_TIME_MS, work()), 1..12);
    let faults = prop::collection::vec((0..BAD_TIME_MS, fault()), 0..10);
    (any::<u64>(), line(), work, faults).prop_map(|(seed, line, mut work, faults)| {
        work.sort_by_key(|(at, _)| *at);
        Scenario { seed, line, work, faults }
    })
}

/// Plays the scenario; the invariants of every receipt are checked on the way by the world.
fn play(scenario: &Scenario) -> World {
    let mut world = World::new(scenario.seed, scenario.line);
    for (at, fault) in &scenario.faults {
        world.plan(*at, *fault);
    }
    let mut studies = Vec::new();
    for (number, (at, work)) in (0_u64..).zip(&scenario.work) {
        world.run_until(*at, false);
        let now = UtcMs(i64::try_from(*at).unwrap());
        let bytes = |n: u64, size: usize| noise(scenario.seed ^ (number << 8 | n), size);
        match work {
            Work::Study { class, sizes } => {
                let objects: Vec<(Vec<u8>, Encoding)> = (0_u64..)
                    .zip(sizes)
                    .map(|(n, (size, encoding))| match encoding {
                        Encoding::Film => (grain(scenario.seed ^ (number << 8 | n), *size), *encoding),
                        _ => (bytes(n, *size), *encoding),
                    })
                    .collect();
                studies.push(world.clinic.add_study(&format!("1.2.{number}"), *class, &objects, now));
            }
            Work::LateObject { study, size } => {
                if let Some(uid) = studies.get(*study) {
                    let objects = [(bytes(0, *size), Encoding::Identity)];
                    world.clinic.add_study(uid.as_str(), Class::Screening, &objects, now);
                }
            }
            Work::Raise { study } => {
                if let Some(uid) = studies.get(*study) {
                    world.clinic.raise(uid, Class::Green);
                }
            }
            Work::Letter { size } => {
                let (id, body) = (world.id.clone(), bytes(0, *size));
                world.county.write_letter(&id, &format!("l-{number}"), LetterKind::Report, &body, now);
            }
            Work::Note => world.clinic.add_note(&format!("n-{number}")),
        }
    }
    world.run_until(BAD_TIME_MS, false);
    world.run_until(BAD_TIME_MS + GOOD_LINE_MS, true);
    world
}

// `PROPTEST_CASES=20000 cargo test --test link_simulator` runs the long search.
proptest! {
    #[test]
    fn everything_arrives_once_and_byte_exact_whatever_happens_to_the_link(scenario in scenario()) {
        let world = play(&scenario);
        prop_assert!(world.is_quiet(), "something is still waiting at {} ms", world.now_ms());
        for out in world.clinic.studies.values() {
            prop_assert!(out.refused.is_none() && out.refused_objects.is_empty());
            for object in &out.manifest.objects {
                let place = (world.id.clone(), out.manifest.study.clone(), object.hash);
                prop_assert_eq!(world.county.objects.get(&place), Some(&world.clinic.held[&object.hash].plain));
            }
            let known = &world.county.manifests[&(world.id.clone(), out.manifest.study.clone())];
            prop_assert_eq!(known, &out.manifest, "the newest manifest is the one the county has");
        }
        for id in world.clinic.sent_notes.keys() {
            prop_assert!(world.county.notes.contains_key(&(world.id.clone(), id.clone())), "{} is lost", id);
        }
        prop_assert!(world.county.commits.values().all(|n| *n == 1), "an object was committed twice");
        prop_assert!(world.clinic.letter_commits.values().all(|n| *n == 1), "a letter was stored twice");
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_same_seed_gives_the_same_run(scenario in scenario()) {
        let (one, two) = (play(&scenario), play(&scenario));
        prop_assert_eq!(one.now_ms(), two.now_ms());
        prop_assert_eq!(one.receipted_at, two.receipted_at);
        prop_assert_eq!(one.county.bytes_taken, two.county.bytes_taken);
    }
}

/// 2 Mbit/s and 80 ms there and back.
const TOWNSHIP: Line = Line { latency_ms: 40, jitter_ms: 5, rate: 250, custody_ms: 10 };

#[test]
fn a_chest_pain_ecg_overtakes_a_film_that_is_half_way() {
    let mut world = World::new(1, TOWNSHIP);
    let (film, ecg) = (noise(1, 20_000_000), noise(2, 120_000));
    world.clinic.add_study("1.2.1", Class::Routine, &[(film.clone(), Encoding::Identity)], UtcMs(0));
    world.run_until(40_000, false);
    world.clinic.add_study("1.2.2", Class::Green, &[(ecg.clone(), Encoding::Identity)], UtcMs(40_000));
    world.run_until(300_000, true);
    assert!(world.is_quiet());
    let receipted = |plain: &[u8]| world.receipted_at[&relay_core::ids::ObjectHash::of(plain)];
    // 120 kB take half a second; half a second of other bytes may be ahead of the wire; one round trip.
    assert!(receipted(&ecg) < 41_500, "the ECG was safe after {} ms", receipted(&ecg) - 40_000);
    assert!(receipted(&film) < 84_000, "the film took {} ms", receipted(&film));
    assert_eq!(world.county.bytes_taken, 20_120_000, "no byte crossed twice");
}

#[test]
fn a_small_urgent_object_needs_no_round_trip_for_its_answer() {
    // A satellite line: the round trip is what counts.
    let line = Line { latency_ms: 300, jitter_ms: 0, rate: 1_000, custody_ms: 0 };
    let time = |class| {
        let mut world = World::new(1, line);
        world.run_until(10_000, false);
        let ecg = noise(2, 120_000);
        world.clinic.add_study("1.2.1", class, &[(ecg.clone(), Encoding::Identity)], UtcMs(10_000));
        world.run_until(60_000, true);
        world.receipted_at[&relay_core::ids::ObjectHash::of(&ecg)] - 10_000
    };
    assert!(time(Class::Emergency) < 800, "{} ms", time(Class::Emergency));
    assert!(time(Class::Routine) > 1_200, "{} ms", time(Class::Routine));
}

#[test]
fn a_crash_costs_at_most_what_was_not_synced_or_was_on_the_wire() {
    let mut world = World::new(3, TOWNSHIP);
    world.clinic.add_study("1.2.1", Class::Routine, &[(noise(1, 10_000_000), Encoding::Identity)], UtcMs(0));
    for at in [5_000, 12_000, 21_000, 30_000] {
        world.plan(at, Fault::GatewayCrash);
    }
    world.run_until(600_000, true);
    assert!(world.is_quiet());
    let twice = world.county.bytes_taken - 10_000_000;
    assert!(twice <= 4 * relay_tests::sim::county::SYNC_STEP + 4 * 65_536, "{twice} bytes crossed twice");
}

#[test]
fn a_film_that_is_cut_in_the_middle_crosses_once_in_its_coded_form_and_arrives_byte_exact() {
    let mut world = World::new(9, TOWNSHIP);
    let film = grain(1, 12_000_000);
    let study = world.clinic.add_study("1.2.1", Class::Routine, &[(film.clone(), Encoding::Film)], UtcMs(0));
    let held = &world.clinic.held[&relay_core::ids::ObjectHash::of(&film)];
    let coded = held.coded.len() as u64;
    assert!(coded < 7_000_000, "{coded}");
    for at in [4_000, 11_000] {
        world.plan(at, Fault::Cut { gateway_knows_after: 2_000 });
    }
    world.plan(17_000, Fault::GatewayCrash);
    world.run_until(600_000, true);
    assert!(world.is_quiet());
    let place = (world.id.clone(), study, relay_core::ids::ObjectHash::of(&film));
    assert!(world.county.objects.get(&place) == Some(&film));
    let twice = world.county.bytes_taken - coded;
    assert!(twice <= relay_tests::sim::county::SYNC_STEP + 3 * 3 * 65_536, "{twice} bytes crossed twice");
}

#[test]
fn a_damaged_film_is_refused_by_name_and_the_others_of_its_study_arrive() {
    let mut world = World::new(10, TOWNSHIP);
    let (good, bad) = (grain(1, 300_000), grain(2, 300_000));
    let films = [(bad.clone(), Encoding::Film), (good.clone(), Encoding::Film)];
    let study = world.clinic.add_study("1.2.1", Class::Routine, &films, UtcMs(0));
    let (bad, good) = (relay_core::ids::ObjectHash::of(&bad), relay_core::ids::ObjectHash::of(&good));
    let coded = &mut world.clinic.held.get_mut(&bad).unwrap().coded;
    let end = coded.len() - 2;
    coded[end] ^= 1;
    world.run_until(60_000, true);
    let out = &world.clinic.studies[&study];
    assert_eq!(out.refused_objects[&bad].code, relay_core::codes::Code::RefusedEncoding);
    assert!(out.receipted.contains(&good) && world.county.objects.len() == 1);
}

#[test]
fn the_countys_clock_is_known_to_the_agent() {
    let mut world = World::new(4, TOWNSHIP);
    world.run_until(30_000, false);
    let offset = world.offset_ms.unwrap();
    assert!((offset - 3_600_000).abs() <= 5, "{offset} ms");
}

#[test]
fn a_hundred_studies_that_fail_by_themselves_hold_up_no_good_one() {
    let mut world = World::new(8, TOWNSHIP);
    let film = |n: u64| [(noise(n, 1_000), Encoding::Identity)];
    for n in 0..100_u64 {
        let uid = format!("1.2.1.{n}");
        let study = world.clinic.add_study(&uid, Class::Routine, &film(n), UtcMs(i64::try_from(n).unwrap()));
        let refusal =
            relay_core::codes::Refusal::new(relay_core::codes::Code::StorageFailed, "database", "of its own");
        world.county.refuse_studies.insert(study, refusal);
    }
    world.run_until(30_000, false);
    let good = world.clinic.add_study("1.2.2", Class::Routine, &film(1_000), UtcMs(30_000));
    world.run_until(60_000, false);
    let place = |uid: &relay_core::ids::StudyUid| (world.id.clone(), uid.clone());
    assert!(
        world.county.manifests.contains_key(&place(&good)),
        "newer and no more urgent, but nothing is wrong with it"
    );
    assert_eq!(world.county.objects.len(), 1);
    world.county.refuse_studies.clear();
    world.run_until(300_000, true);
    assert!(world.is_quiet() && world.county.objects.len() == 101, "they are tried again");
}

#[test]
fn a_full_disk_delays_and_loses_nothing() {
    let mut world = World::new(5, TOWNSHIP);
    world.clinic.add_study("1.2.1", Class::Green, &[(noise(1, 2_000_000), Encoding::Identity)], UtcMs(0));
    world.plan(3_000, Fault::DiskFull { ms: 60_000 });
    world.run_until(300_000, true);
    assert!(world.is_quiet() && world.now_ms() < 150_000, "{} ms", world.now_ms());
}

#[test]
fn what_came_after_the_backup_comes_back_after_the_restore() {
    let mut world = World::new(6, TOWNSHIP);
    let film = |n: u64| noise(n, 400_000);
    world.clinic.add_study("1.2.1", Class::Routine, &[(film(1), Encoding::Identity)], UtcMs(0));
    world.clinic.add_note("n-1");
    world.run_until(60_000, true);
    world.plan(world.now_ms(), Fault::Backup);
    world.run_until(world.now_ms() + 1, false);
    world.clinic.add_study("1.2.2", Class::Routine, &[(film(2), Encoding::Identity)], UtcMs(1));
    world.clinic.add_note("n-2");
    world.run_until(120_000, true);
    assert!(world.is_quiet() && world.county.objects.len() == 2);
    let before = world.county.bytes_taken;

    world.plan(world.now_ms() + 1, Fault::Restore);
    world.run_until(world.now_ms() + 1, false);
    assert_eq!(world.county.objects.len(), 1, "the backup lacks the second film");
    world.run_until(300_000, true);
    assert!(world.is_quiet());
    assert_eq!((world.county.objects.len(), world.county.notes.len()), (2, 2));
    // Counted by the restored store: what it had was not sent again.
    assert_eq!(world.county.bytes_taken, before);
}

#[test]
fn an_object_that_the_scrub_finds_rotten_is_sent_again() {
    let mut world = World::new(7, TOWNSHIP);
    let film = noise(1, 400_000);
    let study =
        world.clinic.add_study("1.2.1", Class::Routine, &[(film.clone(), Encoding::Identity)], UtcMs(0));
    world.run_until(60_000, true);
    world.plan(world.now_ms() + 1, Fault::Rot { nth: 0 });
    world.run_until(world.now_ms() + 1, false);
    assert!(world.county.objects.is_empty() && !world.is_quiet());
    world.run_until(120_000, true);
    let place = (world.id.clone(), study, relay_core::ids::ObjectHash::of(&film));
    assert_eq!(world.county.objects.get(&place), Some(&film));
}
