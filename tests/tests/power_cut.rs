//! The power fails at any instant. One day is recorded (every write, sync and rename of one agent and of the gateway,
//! SQLite's too); then the disk is rebuilt as it may be after a cut behind each sync, and the program's own store is
//! opened on it: everything that had been acknowledged by then must be there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stands")]

mod common;

use common::town;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use relay_agent::config::QuietSeconds;
use relay_agent::spool::{Spool, SpoolLimits, SpoolOptions};
use relay_core::clock::{Clock as _, SystemClock};
use relay_core::durable::RealDisk;
use relay_core::ids::{ClinicId, ObjectHash};
use relay_gateway::home::Home;
use relay_gateway::operate::verify::verify_store;
use relay_gateway::store::Store;
use relay_tests::demo::Town;
use relay_tests::lab::ecgs::ecg;
use relay_tests::lab::power::{Disk, Record};
use relay_tests::lab::reading::Doctor;
use relay_tests::lab::wait::{Look, until};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Cuts tried in the everyday run; the full one tries every boundary.
const CUTS: usize = 50;
/// Exams of the recorded day.
const EXAMS: u64 = 40;
/// Every so many exams one is read, signed and returned.
const READ_EVERY: u64 = 4;
/// Fewer sync boundaries than this would be no day.
const LEAST_BOUNDARIES: usize = 500;

/// Something that was promised, and how long the record was when the promise had been heard.
#[derive(Debug, Clone)]
struct Promise {
    at: u64,
    what: Kept,
}

#[derive(Debug, Clone)]
enum Kept {
    /// The agent said success for this study.
    Taken(String),
    /// The county's receipt for this study has come.
    Receipted(String),
    /// The county said that this version is signed.
    Signed(String, i64),
    /// The clinic's receipt for this version has come.
    Returned(String, i64),
}

fn recorder(dir: &Path) -> PathBuf {
    let (library, source) =
        (dir.join("record_disk.so"), concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/record_disk.c"));
    let mut cc = std::process::Command::new("cc");
    let built = cc
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .status();
    assert!(built.unwrap().success(), "the recorder does not compile");
    library
}

fn environment(library: &Path, log: &Path, root: &Path) -> [(&'static str, String); 3] {
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("RELAY_RECORD_LOG", log.display().to_string()),
        ("RELAY_RECORD_ROOT", std::fs::canonicalize(root).unwrap().display().to_string()),
    ]
}

struct Recorded {
    agent: (Disk, PathBuf, Vec<Promise>),
    county: (Disk, PathBuf, Vec<Promise>),
}

/// Plays the day under the recorder.
async fn record(dir: &Path, town: &mut Town) -> Recorded {
    let library = recorder(dir);
    let (agent_log, county_log) = (dir.join("agent.record"), dir.join("county.record"));
    town.stop().await.unwrap();
    let agent_home = std::fs::canonicalize(town.clinics[0].home()).unwrap();
    let county_home = std::fs::canonicalize(town.county.home()).unwrap();
    let agent_disk = Disk::snapshot(&agent_home).unwrap();
    let county_disk = Disk::snapshot(&county_home).unwrap();
    town.county.start_with(&environment(&library, &county_log, &county_home)).await.unwrap();
    town.clinics[0].start_with(&environment(&library, &agent_log, &agent_home)).await.unwrap();
    let length = |log: &Path| std::fs::metadata(log).map_or(0, |m| m.len());
    let doctor = Doctor::log_in(&town.county, town.login("sun").unwrap()).await.unwrap();
    let (mut of_agent, mut of_county) = (Vec::new(), Vec::new());
    for number in 0..EXAMS {
        let exam = ecg("cut", number, SystemClock.now()).unwrap();
        let answers = town.clinics[0].store("CART", vec![exam.file]).await.unwrap();
        assert_eq!(answers[0].status, 0, "{answers:?}");
        of_agent.push(Promise { at: length(&agent_log), what: Kept::Taken(exam.uid.clone()) });
        if number % READ_EVERY != 0 {
            continue;
        }
        common::safe(town, 0, &exam.uid).await;
        of_county.push(Promise { at: length(&county_log), what: Kept::Receipted(exam.uid.clone()) });
        let study = doctor.whole_study("liuhe", &exam.uid).await.unwrap();
        let signed = doctor.report(&study, "正常心电图").await.unwrap();
        assert!(signed.status.is_success(), "{signed:?}");
        let signed = signed.json().unwrap();
        let (report, version) =
            (signed["report"].as_str().unwrap().to_owned(), signed["version"].as_i64().unwrap());
        of_county.push(Promise { at: length(&county_log), what: Kept::Signed(report.clone(), version) });
        let received = |study: &serde_json::Value| study["versions"][0]["received_at_ms"].is_i64();
        doctor.study_when("liuhe", &exam.uid, "the clinic's receipt", common::DAY, received).await.unwrap();
        of_agent.push(Promise { at: length(&agent_log), what: Kept::Returned(report, version) });
    }
    until("the last receipt", common::DAY, async || {
        let waiting = town.clinics[0].overview().await?.unreceipted_bytes;
        Ok(if waiting == 0 { Look::There(()) } else { Look::NotYet(format!("{waiting} bytes")) })
    })
    .await
    .unwrap();
    for promise in of_agent.clone() {
        if let Kept::Taken(uid) = promise.what {
            of_county.push(Promise { at: length(&county_log), what: Kept::Receipted(uid) });
        }
    }
    town.stop().await.unwrap();
    Recorded { agent: (agent_disk, agent_log, of_agent), county: (county_disk, county_log, of_county) }
}

async fn database(file: &Path) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap()
}

async fn count(pool: &SqlitePool, query: &'static str, text: &str, number: i64) -> i64 {
    sqlx::query_scalar(query).bind(text).bind(number).fetch_one(pool).await.unwrap()
}

/// Opens the agent's own store on the disk and looks for what was promised.
async fn agent_keeps(home: &Path, promises: &[&Promise]) {
    let options = SpoolOptions {
        dir: home.join("spool"),
        clinic: ClinicId::parse("liuhe").unwrap(),
        limits: SpoolLimits { max_unreceipted_bytes: u64::MAX, free_floor_bytes: 0 },
        quiet: QuietSeconds::default(),
    };
    let spool = Spool::open(options, Arc::new(RealDisk), Arc::new(SystemClock)).await.unwrap();
    spool.studies(0).await.unwrap();
    spool.close().await;
    let pool = database(&home.join("spool").join("spool.db")).await;
    for promise in promises {
        match &promise.what {
            Kept::Taken(uid) => {
                let hash: Vec<u8> = sqlx::query_scalar("SELECT hash FROM object WHERE study = $1")
                    .bind(uid)
                    .fetch_one(&pool)
                    .await
                    .unwrap_or_else(|e| panic!("{uid} was acknowledged: {e}"));
                whole(&home.join("spool").join("blobs"), &hash);
            }
            Kept::Returned(report, version) => {
                let query = "SELECT COUNT(*) FROM report WHERE report_id = $1 AND version = $2";
                assert_eq!(count(&pool, query, report, *version).await, 1, "{promise:?}");
            }
            other => panic!("{other:?} is no promise of an agent"),
        }
    }
    pool.close().await;
}

fn whole(blobs: &Path, hash: &[u8]) {
    let hash = ObjectHash::from_slice(hash).unwrap();
    let name = hash.to_hex();
    let path = blobs.join(&name[..2]).join(&name);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(ObjectHash::of(&bytes), hash, "{}", path.display());
}

/// Opens the gateway's own store on the disk, proves all of it and looks for what was promised.
async fn county_keeps(home: &Path, promises: &[&Promise]) {
    let store = Store::open(home, Arc::new(RealDisk)).await.unwrap();
    let trust = relay_gateway::operate::trust(&Home(home.to_owned()));
    let proof = verify_store(&store, trust.as_ref(), SystemClock.now()).await.unwrap();
    store.close().await;
    assert!(proof.ok, "{proof:?}");
    let pool = database(&home.join("county.db")).await;
    for promise in promises {
        let there = match &promise.what {
            Kept::Receipted(uid) => {
                let query = "SELECT COUNT(*) FROM object o JOIN study s ON s.id = o.study_id WHERE s.uid = $1 AND $2 = 0";
                count(&pool, query, uid, 0).await
            }
            Kept::Signed(report, version) => {
                count(
                    &pool,
                    "SELECT COUNT(*) FROM report_version WHERE report = $1 AND version = $2",
                    report,
                    *version,
                )
                .await
            }
            other => panic!("{other:?} is no promise of a county"),
        };
        assert_eq!(there, 1, "{promise:?}");
    }
    pool.close().await;
}

#[tokio::test]
async fn whatever_was_acknowledged_is_there_after_a_power_cut_behind_any_sync() {
    let full = std::env::var("RELAY_FULL").is_ok_and(|v| v == "1");
    let (dir, mut town) = town().await;
    let Recorded { agent, county } = record(dir.path(), &mut town).await;
    let mut rng = StdRng::seed_from_u64(20_261_122);
    let mut all = 0;
    for (who, (mut disk, log, promises)) in [("agent", agent), ("county", county)] {
        let record = Record::read(&log).unwrap();
        let boundaries = record.boundaries();
        all += boundaries.len();
        let mut cuts = boundaries.clone();
        if !full {
            cuts = boundaries.iter().copied().choose_multiple(&mut rng, CUTS / 2);
            cuts.sort_unstable();
        }
        let (mut next, mut proved) = (0, 0);
        for cut in cuts {
            disk.play(&record, next, cut);
            next = cut + 1;
            let kept: Vec<&Promise> = promises.iter().filter(|p| p.at <= record.end_of(cut)).collect();
            proved += kept.len();
            println!("{who}: cut behind operation {cut}");
            let image = tempfile::tempdir().unwrap();
            disk.after_power_cut(image.path(), &mut rng).unwrap();
            let looking = async {
                match who {
                    "agent" => agent_keeps(image.path(), &kept).await,
                    _ => county_keeps(image.path(), &kept).await,
                }
            };
            looking.await;
        }
        println!("{who}: {} sync boundaries, {proved} promises looked for", boundaries.len());
        assert!(proved > 0, "{who}: no promise was looked for");
    }
    assert!(all >= LEAST_BOUNDARIES, "{all} sync boundaries are no day");
}
