//! Films under the film coder, from the clinic's disk to the county's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stands")]

mod common;

use common::{exam, town};
use relay_agent::config::QuietSeconds;
use relay_agent::courier::ports::Outbox as _;
use relay_agent::spool::{Origin, Spool, SpoolLimits, SpoolOptions};
use relay_core::clock::{Clock, SystemClock};
use relay_core::durable::RealDisk;
use relay_core::formats::dicom;
use relay_core::ids::{ClinicId, ObjectHash};
use relay_core::sla::{DEFAULT_POLICY, SlaPolicy};
use relay_core::study::{Class, Encoding};
use relay_gateway::ingest::{Ingest, Room};
use relay_gateway::store::Store;
use relay_tests::demo::Town;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;

async fn database(path: &Path) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(path).read_only(true)).await.unwrap()
}

fn spool_of(town: &Town) -> PathBuf {
    town.clinics[0].home().join("spool")
}

fn blob(store: &Path, hash: &[u8]) -> PathBuf {
    let name = hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
    store.join("blobs").join(&name[..2]).join(&name)
}

/// Hash, encoding, coded length and coded hash of the objects of a study, as the spool has them.
async fn forms(town: &Town, uid: &str) -> Vec<(Vec<u8>, i64, i64, Vec<u8>)> {
    let spool = database(&spool_of(town).join("spool.db")).await;
    sqlx::query_as(
        "SELECT hash, encoding, coded_length, coded_hash FROM object WHERE study = ? ORDER BY hash",
    )
    .bind(uid)
    .fetch_all(&spool)
    .await
    .unwrap()
}

fn by_zstd(path: &Path) -> i64 {
    i64::try_from(zstd::encode_all(std::fs::File::open(path).unwrap(), 3).unwrap().len()).unwrap()
}

/// The county's file of an object equals the clinic's.
fn is_there(town: &Town, hash: &[u8]) {
    let here = std::fs::read(blob(&spool_of(town), hash)).unwrap();
    let there = std::fs::read(blob(&town.county.home().join("store"), hash)).unwrap();
    assert!(here == there, "the county has other bytes");
}

#[tokio::test]
async fn a_film_travels_as_a_film_in_fewer_bytes_than_by_zstd_and_arrives_byte_exact() {
    let (_dir, town) = town().await;
    let hand = exam(81, 1, 0.5);
    let answers = town.clinics[0].store("DR-01", hand.films.clone()).await.unwrap();
    assert!(answers.iter().all(|a| a.status == 0), "{answers:?}");
    let (mut coded, mut packed) = (0, 0);
    let forms = forms(&town, &hand.uid).await;
    for (hash, encoding, length, _) in &forms {
        assert_eq!(*encoding, i64::from(Encoding::Film.number()));
        coded += length;
        packed += by_zstd(&blob(&spool_of(&town), hash));
    }
    common::safe(&town, 0, &hand.uid).await;
    for (hash, ..) in &forms {
        is_there(&town, hash);
    }
    let page = town.clinics[0].overview().await.unwrap();
    let wire = i64::try_from(page.link.wire_bytes_sent).unwrap();
    println!("{} bytes by zstd, {coded} as films, {wire} on the wire", packed);
    assert!(coded < packed * 3 / 4, "{coded} of {packed}");
    assert!(wire < packed, "{wire} bytes on the wire, {packed} by zstd");
}

#[tokio::test]
async fn a_film_whose_coded_form_is_damaged_is_refused_by_name_and_then_arrives_as_it_is() {
    let (_dir, mut town) = town().await;
    town.county.stop().await.unwrap();
    let hand = exam(82, 1, 0.25);
    let answers = town.clinics[0].store("DR-01", hand.films.clone()).await.unwrap();
    assert!(answers.iter().all(|a| a.status == 0), "{answers:?}");
    let before = forms(&town, &hand.uid).await;
    let (hash, encoding, _, coded_hash) = &before[0];
    assert_eq!(*encoding, i64::from(Encoding::Film.number()));
    let path = blob(&spool_of(&town), coded_hash);
    let mut coded = std::fs::read(&path).unwrap();
    let middle = coded.len() / 2;
    coded[middle] ^= 1;
    common::put(&path, &coded);
    town.county.start().await.unwrap();
    common::safe(&town, 0, &hand.uid).await;
    is_there(&town, hash);
    let after = forms(&town, &hand.uid).await;
    assert_eq!((after[0].1, &after[0].3), (i64::from(Encoding::Identity.number()), hash), "as it is");
    let county = database(&town.county.home().join("county.db")).await;
    let named: Vec<String> =
        sqlx::query_scalar("SELECT subject || body FROM event WHERE type = 'object.refused'")
            .fetch_all(&county)
            .await
            .unwrap();
    let hex = hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert!(named.len() == 1 && named[0].contains(&hex), "{named:?}");
}

async fn spool(dir: &Path, clock: Arc<dyn Clock>) -> Spool {
    let options = SpoolOptions {
        dir: dir.join("spool"),
        clinic: ClinicId::parse("shilipu").unwrap(),
        limits: SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 },
        quiet: QuietSeconds::default(),
    };
    Spool::open(options, Arc::new(RealDisk), clock).await.unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dicom_file_of_the_corpus_is_restored_from_the_form_in_which_it_travels() {
    let Some(root) = std::env::var_os("RELAY_CORPUS") else {
        println!("skipped: RELAY_CORPUS is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let spool = spool(dir.path(), Arc::clone(&clock)).await;
    let store = Store::open(&dir.path().join("county"), Arc::new(RealDisk)).await.unwrap();
    let policy = Arc::new(SlaPolicy::from_toml(DEFAULT_POLICY).unwrap());
    let room = Room { free_floor_bytes: 0, quarantine_bytes: 1 << 20 };
    let county = Ingest::new(store.clone(), clock, policy, room);
    let clinic = ClinicId::parse("shilipu").unwrap();
    let origin = Origin {
        source: "corpus".into(),
        name: None,
        class: Class::Routine,
        kind: None,
        quiet: false,
        open: false,
        announced: None,
    };
    let mut travelled: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for path in files(&Path::new(&root).join("dicom")) {
        let bytes = std::fs::read(&path).unwrap();
        if dicom::admit(std::io::Cursor::new(&bytes)).is_err() {
            continue;
        }
        let Ok(admitted) = spool.intake(bytes.clone()).admit(&origin).await else {
            panic!("{} is lawful and was not taken", path.display())
        };
        let manifest = spool.manifest(&admitted.study).await.unwrap();
        let object = manifest.objects.iter().find(|o| o.hash == admitted.hash).unwrap();
        county.offered(&clinic, &manifest, SystemClock.now()).await.unwrap();
        let mut writer = county.open_writer(&clinic, &manifest.study, object, 0).await.unwrap();
        let mut file = spool.open_coded(&admitted.study, &admitted.hash).await.unwrap();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let read = file.read(&mut chunk).await.unwrap();
            if read == 0 {
                break;
            }
            writer.write(bytes::Bytes::copy_from_slice(&chunk[..read])).await.unwrap();
        }
        let receipt = writer.finish(SystemClock.now()).await;
        let receipt = receipt.unwrap_or_else(|e| panic!("{}: {e}", path.display())).unwrap();
        assert_eq!(receipt.hash, ObjectHash::of(&bytes), "{}", path.display());
        let kept = std::fs::read(store.blobs().path_of(&receipt.hash)).unwrap();
        assert!(kept == bytes, "{}", path.display());
        let sum = travelled.entry(object.coded.encoding.word()).or_default();
        *sum = (sum.0 + 1, sum.1 + object.length, sum.2 + object.coded.length);
    }
    for (encoding, (count, plain, coded)) in &travelled {
        println!("{count} files as {encoding}: {plain} bytes, {coded} on the way");
    }
    assert!(travelled.contains_key("film") && travelled.contains_key("identity"), "{travelled:?}");
}
