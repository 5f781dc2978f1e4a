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

/// A C-STORE of a film whose command says something else than the film; the answer's status as dcmtk prints it.
async fn store_as(bench: &Bench, class: &str, instance: &str) -> u16 {
    use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, read_pdu, write_pdu};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(("127.0.0.1", bench.port)).await.unwrap();
    let mut said = bytes::BytesMut::new();
    async fn tell(stream: &mut TcpStream, pdu: &Pdu) {
        let mut out = Vec::new();
        write_pdu(&mut out, pdu).unwrap();
        stream.write_all(&out).await.unwrap();
    }
    let ask = dicom_ul::pdu::AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "DR1".into(),
        called_ae_title: "RELAY".into(),
        application_context_name: "1.2.840.10008.3.1.1.1".into(),
        presentation_contexts: vec![dicom_ul::pdu::PresentationContextProposed {
            id: 1,
            abstract_syntax: "1.2.840.10008.5.1.4.1.1.1.1".into(),
            transfer_syntaxes: vec!["1.2.840.10008.1.2.1".into()],
        }],
        user_variables: Vec::new(),
    };
    tell(&mut stream, &Pdu::AssociationRQ(ask)).await;
    let request = command::Request {
        field: command::C_STORE,
        message_id: 7,
        has_data_set: true,
        sop_class: class.into(),
        sop_instance: instance.into(),
    };
    let value = |value_type, data| PDataValue { presentation_context_id: 1, value_type, is_last: true, data };
    let data_set = testing::film_data_set("1.2.3", "1.2.3.1", "1.2.3.1.1", 64);
    let sent = [(PDataValueType::Command, command::request(&request)), (PDataValueType::Data, data_set)];
    for (kind, data) in sent {
        tell(&mut stream, &Pdu::PData { data: vec![value(kind, data)] }).await;
    }
    loop {
        if let Some(Pdu::PData { data }) = {
            let mut rest = &said[..];
            let read = read_pdu(&mut rest, 1 << 20, false).unwrap();
            let used = said.len() - rest.len();
            if read.is_some() {
                let _ = said.split_to(used);
            }
            read
        } {
            return command::status_in(&data[0].data).unwrap();
        }
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_buf(&mut said)).await;
        if read.unwrap().unwrap() == 0 {
            panic!("no answer");
        }
    }
}

#[tokio::test]
async fn a_c_store_whose_names_are_paths_or_not_those_of_the_data_set_is_refused_and_leaves_a_trace() {
    let bench = bench(|_, _| {}).await;
    let dx = "1.2.840.10008.5.1.4.1.1.1.1";
    for (class, instance, status, field) in [
        (dx, "../../../etc/passwd", 0xC000, "(0000,1000) AffectedSOPInstanceUID"),
        (dx, "", 0xC000, "(0000,1000) AffectedSOPInstanceUID"),
        ("../x", "1.2.3.1.1", 0xC000, "(0000,0002) AffectedSOPClassUID"),
        (dx, "1.2.3.9", 0xA900, crate::spool::CONTRADICTS),
        ("1.2.840.10008.5.1.4.1.1.2", "1.2.3.1.1", 0xA900, crate::spool::CONTRADICTS),
    ] {
        assert_eq!(store_as(&bench, class, instance).await, status, "{class} {instance}");
        let found = bench.spool.rejects().await.unwrap();
        let found = found.iter().find(|r| r.field == field && r.file.ends_with(instance)).unwrap();
        assert_eq!((found.source.as_str(), found.code.as_str()), ("DR1", "REFUSED_UID"));
        assert!(found.file.starts_with("DR1"), "{}", found.file);
        assert!(bench.spool.pending_studies(1).await.unwrap().is_empty());
    }
    assert_eq!(store_as(&bench, dx, "1.2.3.1.1").await, 0);
    assert_eq!(bench.spool.pending_studies(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn connections_that_say_nothing_keep_no_modality_out() {
    let bench = bench(|config, _| config.max_associations = 2).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_WAITING_PER_ADDRESS / 2 {
        silent.push(TcpStream::connect(("127.0.0.1", bench.port)).await.unwrap());
    }
    let asked = tokio::time::Instant::now();
    assert!(bench.scu("echoscu", &[]).await.status.success());
    assert!(asked.elapsed() < Duration::from_secs(4), "it did not wait for the silent ones to be cut");
    drop(silent);
}

#[test]
fn so_many_may_wait_from_one_address_and_one_that_asks_gives_its_seat_back() {
    let (waiting, loud) = (Waiting::default(), IpAddr::from([10, 0, 0, 9]));
    let mut seats: Vec<Seat> = (0..MAX_WAITING_PER_ADDRESS).map(|_| waiting.seat(loud).unwrap()).collect();
    assert!(waiting.seat(loud).is_none());
    assert!(waiting.seat(IpAddr::from([10, 0, 0, 8])).is_some(), "another address is not kept out");
    seats.pop();
    assert!(waiting.seat(loud).is_some());
    drop(seats);
    assert!(waiting.0.lock().unwrap().is_empty());
}
