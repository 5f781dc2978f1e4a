//! Agents and gateway are killed again and again while studies flow. Afterwards nothing acknowledged is missing, nothing
//! is there twice, and every report version is at its clinic once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stands")]

mod common;

use common::town;
use futures::FutureExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use relay_core::clock::{Clock as _, SystemClock};
use relay_tests::demo::Town;
use relay_tests::lab::ecgs::{SmallExam, ecg};
use relay_tests::lab::reading::Doctor;
use relay_tests::lab::scu;
use relay_tests::lab::wait::{Look, until};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Kills in the everyday run, and in the full one.
const KILLS: usize = 20;
const KILLS_FULL: usize = 200;
/// Between a restart and the next kill, ms.
const LIFE_MS: std::ops::Range<u64> = 30..900;
/// Between two exams of one clinic.
const PACE: Duration = Duration::from_millis(200);
/// After the last kill everything arrives.
const QUIET_DEADLINE: Duration = Duration::from_secs(180);

fn full() -> bool {
    std::env::var("RELAY_FULL").is_ok_and(|v| v == "1")
}

/// Seed of the run; another one by RELAY_SEED.
fn seed() -> u64 {
    std::env::var("RELAY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_122)
}

/// Exams that the agent said it holds: study UID to file, by clinic.
type Acknowledged = RefCell<[BTreeMap<String, Vec<u8>>; 2]>;

/// A machine sends one exam after the other, each until it hears success.
async fn machine(clinic: usize, scp: SocketAddr, acknowledged: &Acknowledged, stop: &CancellationToken) {
    for number in 0.. {
        let SmallExam { uid, file } = ecg(&format!("kill{clinic}"), number, SystemClock.now()).unwrap();
        loop {
            if stop.is_cancelled() {
                return;
            }
            let bytes = file.clone();
            let sent = tokio::task::spawn_blocking(move || scu::store(scp, "CART", "RELAY", &[&bytes]))
                .await
                .unwrap();
            if sent.is_ok_and(|answers| answers[0].status == 0) {
                acknowledged.borrow_mut()[clinic].insert(uid, file);
                break;
            }
            tokio::time::sleep(PACE).await;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The cardiologist goes on whatever happens; what the county took is noted.
async fn cardiologist(doctor: &Doctor, signed: &RefCell<Vec<(String, u64)>>, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let Ok(Some(version)) = one_case(doctor).await {
            signed.borrow_mut().push(version);
        } else {
            tokio::time::sleep(PACE).await;
        }
    }
}

async fn one_case(doctor: &Doctor) -> anyhow::Result<Option<(String, u64)>> {
    let list = doctor.client.get("/api/v1/worklist?states=waiting,claimed,drafted&kind=ecg&limit=5").await?;
    let rows = list["items"].as_array().cloned().unwrap_or_default();
    let Some(row) = rows.iter().find(|row| row["lease"].is_null() || row["mine"] == true) else {
        return Ok(None);
    };
    let study = doctor.client.get(&format!("/api/v1/worklist/{}/study", row["id"])).await?;
    let reply = doctor.report(&study, "正常心电图").await?;
    let told = reply.json()?;
    Ok(reply.status.is_success().then(|| {
        (told["report"].as_str().unwrap_or_default().to_owned(), told["version"].as_u64().unwrap_or(0))
    }))
}

async fn killer(town: &mut Town, kills: usize, rng: &mut StdRng) {
    for kill in 0..kills {
        // Waits for nothing: this is how long the process lives, drawn from the seed.
        tokio::time::sleep(Duration::from_millis(rng.random_range(LIFE_MS))).await;
        match rng.random_range(0..4) {
            clinic @ 0..=1 => {
                town.clinics[clinic].kill().await.unwrap();
                town.clinics[clinic].start().await.unwrap();
            }
            _ => {
                town.county.kill().await.unwrap();
                town.county.start().await.unwrap();
            }
        }
        town.check().unwrap_or_else(|error| panic!("after kill {kill}: {error:#}"));
    }
}

async fn open(file: &Path) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(file).read_only(true)).await.unwrap()
}

#[tokio::test]
async fn kills_at_random_lose_nothing_and_double_nothing() {
    let kills = if full() { KILLS_FULL } else { KILLS };
    let (_dir, mut town) = town().await;
    // Every program keeps its ports, so that machines and doctors find it again.
    let county = town.county.addresses().unwrap().clone();
    for clinic in &mut town.clinics {
        clinic.stop().await.unwrap();
        clinic.configure(&county, |_| {}).unwrap();
        clinic.start().await.unwrap();
    }
    let doctor = Doctor::log_in(&town.county, town.login("sun").unwrap()).await.unwrap();
    let scps = [0, 1].map(|n| town.clinics[n].endpoint().unwrap().dicom.unwrap());
    let (acknowledged, signed) = (Acknowledged::default(), RefCell::new(Vec::new()));
    let (stop, mut rng) = (CancellationToken::new(), StdRng::seed_from_u64(seed()));
    let killing = async {
        killer(&mut town, kills, &mut rng).await;
        stop.cancel();
    };
    tokio::join!(
        killing.boxed_local(),
        machine(0, scps[0], &acknowledged, &stop),
        machine(1, scps[1], &acknowledged, &stop),
        cardiologist(&doctor, &signed, &stop),
    );
    all_arrived(&mut town).await;
    let (acknowledged, signed) = (acknowledged.into_inner(), signed.into_inner());
    let proof = town.county.gateway(&["verify-store", "--json"], "").await.unwrap();
    let proof: Value = serde_json::from_str(&proof).unwrap();
    assert_eq!(proof["ok"], true, "{proof}");
    town.county.gateway(&["audit", "verify"], "").await.unwrap();
    town.stop().await.unwrap();
    check(&town, &acknowledged, &signed).await;
    let exams = acknowledged.iter().map(BTreeMap::len).sum::<usize>();
    println!("{kills} kills, {exams} exams acknowledged, {} reports signed", signed.len());
    assert!(exams >= kills / 2 && !signed.is_empty(), "the loop did not do its work");
}

/// Everything at the clinics has its receipt, and every signed version is at its clinic.
async fn all_arrived(town: &mut Town) {
    until("everything to arrive", QUIET_DEADLINE, async || {
        town.check()?;
        for clinic in &town.clinics {
            let page = clinic.overview().await?;
            if page.unreceipted_bytes > 0 {
                return Ok(Look::NotYet(format!(
                    "{}: {} bytes wait, {:?}",
                    clinic.id, page.unreceipted_bytes, page.link
                )));
            }
        }
        let county = open(&town.county.home().join("county.db")).await;
        let waiting: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM report_version WHERE received_at IS NULL")
                .fetch_one(&county)
                .await?;
        county.close().await;
        Ok(if waiting == 0 {
            Look::There(())
        } else {
            Look::NotYet(format!("{waiting} versions not received"))
        })
    })
    .await
    .unwrap();
}

async fn check(town: &Town, acknowledged: &[BTreeMap<String, Vec<u8>>; 2], signed: &[(String, u64)]) {
    let county = open(&town.county.home().join("county.db")).await;
    let twice: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (SELECT 1 FROM object GROUP BY clinic, hash HAVING COUNT(*) > 1)",
    )
    .fetch_one(&county)
    .await
    .unwrap();
    assert_eq!(twice, 0, "one row for (clinic, hash)");
    for (report, version) in signed {
        let there: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM report_version WHERE report = $1 AND version = $2")
                .bind(report)
                .bind(i64::try_from(*version).unwrap())
                .fetch_one(&county)
                .await
                .unwrap();
        assert_eq!(there, 1, "signed {report} v{version}");
    }
    for (clinic, exams) in town.clinics.iter().zip(acknowledged) {
        let spool = open(&clinic.home().join("spool").join("spool.db")).await;
        for (uid, file) in exams {
            let hash: Vec<u8> =
                sqlx::query_scalar("SELECT hash FROM object WHERE study = $1 AND receipted_at IS NOT NULL")
                    .bind(uid)
                    .fetch_one(&spool)
                    .await
                    .unwrap_or_else(|e| panic!("{} {uid} was acknowledged: {e}", clinic.id));
            let name = hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let path = clinic.home().join("spool").join("blobs").join(&name[..2]).join(&name);
            let held = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(
                common::data_set(&held) == common::data_set(file),
                "{uid}: the data set is what was sent"
            );
            let there: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM object o JOIN study s ON s.id = o.study_id WHERE s.clinic = $1 AND s.uid = $2 AND o.hash = $3",
            )
            .bind(&clinic.id)
            .bind(uid)
            .bind(&hash)
            .fetch_one(&county)
            .await
            .unwrap();
            assert_eq!(there, 1, "{} {uid} is at the county once", clinic.id);
        }
        let at_county: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT v.report, v.version, v.package_hash FROM report_version v JOIN report r ON r.id = v.report
             JOIN study s ON s.id = r.study_id WHERE s.clinic = $1 ORDER BY 1, 2",
        )
        .bind(&clinic.id)
        .fetch_all(&county)
        .await
        .unwrap();
        let here: Vec<(String, i64, Vec<u8>)> =
            sqlx::query_as("SELECT report_id, version, package FROM report ORDER BY 1, 2")
                .fetch_all(&spool)
                .await
                .unwrap();
        assert!(
            here == at_county,
            "{}: {} versions here, {} at the county",
            clinic.id,
            here.len(),
            at_county.len()
        );
    }
}
