use super::*;
use crate::config::{AeRule, Network, QuietSeconds};
use crate::courier::ports::Outbox as _;
use crate::spool::{SpoolLimits, SpoolOptions};
use crate::testing;
use relay_core::clock::{ManualClock, UtcMs};
use relay_core::durable::FaultyDisk;
use relay_core::ids::{ClinicId, ObjectHash};
use relay_core::study::{Class, Completeness};
use std::path::Path;
use std::process::Output;
use tokio::process::Command;

struct Bench {
    dir: tempfile::TempDir,
    disk: FaultyDisk,
    spool: Spool,
    port: u16,
    stop: CancellationToken,
}

async fn bench(change: impl FnOnce(&mut Dicom, &mut SpoolLimits)) -> Bench {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let mut limits = SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 };
    let mut config = Dicom { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Dicom::default() };
    change(&mut config, &mut limits);
    let options = SpoolOptions {
        dir: dir.path().join("spool"),
        clinic: ClinicId::parse("shilipu").unwrap(),
        limits,
        quiet: QuietSeconds { ecg: 0, xray_urgent: 0, xray_routine: 0 },
    };
    let clock = Arc::new(ManualClock::at(UtcMs(1_793_666_000_000)));
    let spool = Spool::open(options, Arc::new(disk.clone()), clock).await.unwrap();
    let listener = DimseListener::bind(config, spool.clone()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    tokio::spawn(listener.run(stop.clone(), CancellationToken::new()));
    Bench { dir, disk, spool, port, stop }
}

impl Bench {
    async fn scu(&self, tool: &str, args: &[&str]) -> Output {
        let port = self.port.to_string();
        let out = Command::new(tool)
            .args(["-v", "-aet", "DR1", "-aec", "RELAY", "-to", "20", "-ta", "20", "127.0.0.1", &port])
            .args(args)
            .output();
        let out = out.await.expect("dcmtk is installed");
        println!(
            "{tool} {args:?}: {}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        out
    }

    /// The one object of the spool, as stored.
    async fn only_object(&self) -> Vec<u8> {
        let manifests = self.spool.pending_studies(10).await.unwrap();
        assert_eq!((manifests.len(), manifests[0].objects.len()), (1, 1));
        let bytes = std::fs::read(self.spool.blobs().path_of(&manifests[0].objects[0].hash)).unwrap();
        assert_eq!(ObjectHash::of(&bytes), manifests[0].objects[0].hash);
        bytes
    }
}

/// What stands behind preamble and group 0002.
fn data_set(file: &[u8]) -> &[u8] {
    let length = u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
    &file[144 + length..]
}

async fn convert(dir: &Path, flags: &[&str], from: &Path) -> std::path::PathBuf {
    let to = dir.join(format!("converted{}.dcm", flags.join("")));
    let done =
        Command::new("dcmconv").args(flags).arg(from).arg(&to).status().await.expect("dcmtk is installed");
    assert!(done.success(), "dcmconv {flags:?}");
    to
}

#[tokio::test]
async fn an_echo_is_answered() {
    let bench = bench(|_, _| {}).await;
    assert!(bench.scu("echoscu", &[]).await.status.success());
}

#[tokio::test]
async fn a_film_in_each_transfer_syntax_arrives_with_its_data_set_byte_by_byte() {
    // dcmconv writes, storescu proposes the same syntax.
    for (convert_to, propose) in [("+te", "-xe"), ("+ti", "-xi"), ("+tb", "-xb"), ("+td", "-xd")] {
        let bench = bench(|_, _| {}).await;
        let source =
            testing::write(bench.dir.path(), "a.dcm", &testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 200));
        let file = convert(bench.dir.path(), &[convert_to], &source).await;
        assert!(
            bench.scu("storescu", &[propose, file.to_str().unwrap()]).await.status.success(),
            "{propose}"
        );
        let (sent, stored) = (std::fs::read(&file).unwrap(), bench.only_object().await);
        assert!(data_set(&sent) == data_set(&stored), "{propose}: the data set differs");
        let manifest = &bench.spool.pending_studies(1).await.unwrap()[0];
        assert_eq!((manifest.source.as_str(), manifest.study.as_str()), ("DR1", "1.2.3"));
    }
}

#[tokio::test]
async fn compressed_pixels_arrive_untouched() {
    let bench = bench(|_, _| {}).await;
    let source =
        testing::write(bench.dir.path(), "a.dcm", &testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 200));
    let file = bench.dir.path().join("lossless.dcm");
    let done = Command::new("dcmcjpeg").arg("+e1").arg(&source).arg(&file).status().await.unwrap();
    assert!(done.success());
    assert!(bench.scu("storescu", &["-xs", file.to_str().unwrap()]).await.status.success());
    assert!(data_set(&std::fs::read(&file).unwrap()) == data_set(&bench.only_object().await));
}

#[tokio::test]
async fn two_views_in_one_association_are_one_study_complete_when_it_closes() {
    let bench = bench(|config, _| {
        config.rule = vec![AeRule { ae: "DR1".into(), class: Class::Emergency, kind: None }];
    })
    .await;
    let one = testing::write(bench.dir.path(), "1.dcm", &testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 64));
    let two = testing::write(bench.dir.path(), "2.dcm", &testing::film("1.2.3", "1.2.3.1", "1.2.3.1.2", 64));
    assert!(
        bench.scu("storescu", &["-xe", one.to_str().unwrap(), two.to_str().unwrap()]).await.status.success()
    );
    let mut changes = bench.spool.changes();
    loop {
        let manifests = bench.spool.pending_studies(10).await.unwrap();
        assert_eq!(
            (manifests.len(), manifests[0].objects.len(), manifests[0].class),
            (1, 2, Class::Emergency)
        );
        if manifests[0].completeness == Completeness::Complete {
            break;
        }
        tokio::time::timeout(Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
    }
    // Once more: nothing new.
    assert!(bench.scu("storescu", &["-xe", one.to_str().unwrap()]).await.status.success());
    assert_eq!(bench.spool.pending_studies(10).await.unwrap()[0].objects.len(), 2);
}

#[tokio::test]
async fn a_full_disk_is_answered_out_of_resources_and_nothing_is_acknowledged() {
    let bench = bench(|_, limits| limits.free_floor_bytes = 1 << 60).await;
    let file = testing::write(bench.dir.path(), "a.dcm", &testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 64));
    let out = bench.scu("storescu", &["-d", "-xe", file.to_str().unwrap()]).await;
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("0xa700") && said.contains("STORAGE_FULL"), "{said}");
    assert!(bench.spool.pending_studies(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_sync_is_no_success() {
    let bench = bench(|_, _| {}).await;
    bench.disk.faults.sync_fails(true);
    let file = testing::write(bench.dir.path(), "a.dcm", &testing::film("1.2.3", "1.2.3.1", "1.2.3.1.1", 64));
    let out = bench.scu("storescu", &["-d", "-xe", file.to_str().unwrap()]).await;
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("0x0110"), "{said}");
    assert!(bench.spool.pending_studies(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn foreign_titles_and_addresses_are_turned_away() {
    let ae = bench(|config, _| config.allow_ae = vec!["CT9".into()]).await;
    assert!(!ae.scu("echoscu", &[]).await.status.success());
    let address = bench(|config, _| {
        config.allow_address = vec![Network::try_from("10.9.9.0/24".to_owned()).unwrap()];
    })
    .await;
    assert!(!address.scu("echoscu", &[]).await.status.success());
    let called = bench(|config, _| (config.any_called_ae, config.ae_title) = (false, "OTHER".into())).await;
    assert!(!called.scu("echoscu", &[]).await.status.success());
}

#[tokio::test]
async fn junk_on_the_port_ends_its_own_connection_only() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bench = bench(|_, _| {}).await;
    for junk in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        &[1, 0, 0, 0, 0, 4, 1, 2, 3, 4],
        &[4, 0, 0, 0, 0, 1, 9],
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", bench.port)).await.unwrap();
        stream.write_all(junk).await.unwrap();
        let mut end = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut end)).await;
        assert!(closed.is_ok(), "the connection stays open after {junk:?}");
    }
    assert!(bench.scu("echoscu", &[]).await.status.success());
}

#[tokio::test]
async fn the_listener_stops_when_it_is_told() {
    let bench = bench(|_, _| {}).await;
    bench.stop.cancel();
    tokio::task::yield_now().await;
    let gone = async {
        while TcpStream::connect(("127.0.0.1", bench.port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
}
