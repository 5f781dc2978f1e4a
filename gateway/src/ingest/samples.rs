//! Small lawful objects and a county in a temporary directory, for tests.

use super::{Ingest, Room};
use crate::link::ports::{ObjectReceipt, ObjectState};
use crate::store::Store;
use bytes::Bytes;
use relay_core::clock::{ManualClock, UtcMs};
use relay_core::codes::Refusal;
use relay_core::durable::FaultyDisk;
use relay_core::ids::{ClinicId, ObjectHash, StudyUid};
use relay_core::sla::SlaPolicy;
use relay_core::study::{
    Class, CodedForm, Completeness, Encoding, Kind, Manifest, ManifestObject, ObjectKind, StudyContext,
};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// 2026-11-03T01:00:00Z, nine in the morning in China.
pub(crate) const NOW: UtcMs = UtcMs(1_793_667_600_000);
pub(crate) const STUDY: &str = "1.2.826.0.1.3680043.10.1.1";

pub(crate) fn clinic(name: &str) -> ClinicId {
    ClinicId::parse(name).unwrap()
}

pub(crate) fn study(uid: &str) -> StudyUid {
    StudyUid::parse(uid).unwrap()
}

/// Writes a file as a fault or a person would.
pub(crate) fn overwrite(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let disk = relay_core::durable::RealDisk;
    relay_core::durable::write_atomic(&disk, path.as_ref(), bytes.as_ref(), 0o600).unwrap();
}

/// A list of one range.
pub(crate) fn only(range: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(range).collect()
}

/// What a film says; the rest is fixed.
#[derive(Clone)]
pub(crate) struct Film<'a> {
    pub(crate) study: &'a str,
    pub(crate) sop: u32,
    pub(crate) charset: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) patient: &'a [u8],
    pub(crate) time: &'a [u8],
    pub(crate) side: u16,
    pub(crate) seed: u8,
}

impl Default for Film<'_> {
    fn default() -> Self {
        Self {
            study: STUDY,
            sop: 1,
            charset: b"ISO_IR 192",
            name: "王^小明".as_bytes(),
            patient: b"0001",
            time: b"085500",
            side: 16,
            seed: 1,
        }
    }
}

pub(crate) fn element(out: &mut Vec<u8>, group: u16, number: u16, vr: &[u8; 2], value: &[u8]) {
    let pad = if vr == b"UI" || vr == b"OW" || vr == b"OB" { 0 } else { b' ' };
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(pad);
    }
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(vr);
    if matches!(vr, b"OB" | b"OW") {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        out.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend_from_slice(&value);
}

impl Film<'_> {
    /// A DX object in Explicit VR Little Endian.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let sop = format!("1.2.826.0.1.3680043.10.2.{}", self.sop);
        let class = b"1.2.840.10008.5.1.4.1.1.1.1";
        let mut meta = Vec::new();
        element(&mut meta, 2, 1, b"OB", &[0, 1]);
        element(&mut meta, 2, 2, b"UI", class);
        element(&mut meta, 2, 3, b"UI", sop.as_bytes());
        element(&mut meta, 2, 0x10, b"UI", b"1.2.840.10008.1.2.1");
        let mut out = vec![0; 128];
        out.extend_from_slice(b"DICM");
        element(&mut out, 2, 0, b"UL", &u32::try_from(meta.len()).unwrap().to_le_bytes());
        out.extend_from_slice(&meta);
        let side = self.side.to_le_bytes();
        let short = |value: u16| value.to_le_bytes();
        element(&mut out, 8, 5, b"CS", self.charset);
        element(&mut out, 8, 0x16, b"UI", class);
        element(&mut out, 8, 0x18, b"UI", sop.as_bytes());
        element(&mut out, 8, 0x20, b"DA", b"20261103");
        element(&mut out, 8, 0x30, b"TM", self.time);
        element(&mut out, 8, 0x60, b"CS", b"DX");
        element(&mut out, 0x10, 0x10, b"PN", self.name);
        element(&mut out, 0x10, 0x20, b"LO", self.patient);
        element(&mut out, 0x10, 0x40, b"CS", b"M");
        element(&mut out, 0x18, 0x15, b"CS", b"CHEST");
        element(&mut out, 0x20, 0xd, b"UI", self.study.as_bytes());
        element(&mut out, 0x20, 0xe, b"UI", b"1.2.826.0.1.3680043.10.3.1");
        element(&mut out, 0x28, 2, b"US", &short(1));
        element(&mut out, 0x28, 4, b"CS", b"MONOCHROME2");
        element(&mut out, 0x28, 0x10, b"US", &side);
        element(&mut out, 0x28, 0x11, b"US", &side);
        element(&mut out, 0x28, 0x100, b"US", &short(16));
        element(&mut out, 0x28, 0x101, b"US", &short(12));
        element(&mut out, 0x28, 0x102, b"US", &short(11));
        element(&mut out, 0x28, 0x103, b"US", &short(0));
        let pixels: Vec<u8> = (0..usize::from(self.side) * usize::from(self.side))
            .flat_map(|n| (((n * 7 + usize::from(self.seed)) % 4096) as u16).to_le_bytes())
            .collect();
        element(&mut out, 0x7fe0, 0x10, b"OW", &pixels);
        out
    }
}

/// The object as it is.
pub(crate) fn plain(bytes: &[u8]) -> ManifestObject {
    let (hash, length) = (ObjectHash::of(bytes), bytes.len() as u64);
    ManifestObject {
        hash,
        length,
        kind: ObjectKind::Dicom,
        instance: None,
        series: None,
        coded: CodedForm { encoding: Encoding::Identity, length, hash },
    }
}

/// The object as a zstd frame.
pub(crate) fn zstd_coded(bytes: &[u8]) -> (ManifestObject, Vec<u8>) {
    let coded = zstd::encode_all(bytes, 3).unwrap();
    let form =
        CodedForm { encoding: Encoding::Zstd, length: coded.len() as u64, hash: ObjectHash::of(&coded) };
    (ManifestObject { coded: form, ..plain(bytes) }, coded)
}

/// The object as the film coder has it.
pub(crate) fn film_coded(bytes: &[u8], mode: relay_film::Mode) -> (ManifestObject, Vec<u8>) {
    let facts = relay_core::formats::dicom::admit(std::io::Cursor::new(bytes)).unwrap();
    let relay_core::formats::dicom::PixelForm::Native { offset, length } = facts.pixels else {
        panic!("no film")
    };
    let layout = relay_film::Layout {
        rows: facts.rows.unwrap(),
        columns: facts.columns.unwrap(),
        samples: 1,
        bits_allocated: facts.bits_allocated.unwrap(),
        offset,
        length,
        ..relay_film::Layout::default()
    };
    let coded = relay_film::encode_file(bytes, Some(&layout), mode);
    let form =
        CodedForm { encoding: Encoding::Film, length: coded.len() as u64, hash: ObjectHash::of(&coded) };
    (ManifestObject { coded: form, ..plain(bytes) }, coded)
}

pub(crate) fn manifest(class: Class, objects: Vec<ManifestObject>) -> Manifest {
    Manifest {
        study: study(STUDY),
        generation: 1,
        class,
        kind: Kind::Xray,
        completeness: Completeness::Complete,
        first_object_at: NOW.plus_ms(-60_000),
        exam_completed_at: None,
        time_suspect: false,
        source: "DR1".into(),
        context: StudyContext::default(),
        objects,
    }
}

/// A county in a temporary directory.
pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) disk: FaultyDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Store,
    pub(crate) ingest: Ingest,
}

/// Nothing is kept free in tests: their disks are told when to be full.
pub(crate) const ROOM: Room = Room { free_floor_bytes: 0, quarantine_bytes: 1 << 20 };

pub(crate) fn policy() -> Arc<SlaPolicy> {
    Arc::new(SlaPolicy::from_toml(relay_core::sla::DEFAULT_POLICY).unwrap())
}

async fn open(dir: &Path, disk: &FaultyDisk, clock: &Arc<ManualClock>) -> (Store, Ingest) {
    let store = Store::open(dir, Arc::new(disk.clone())).await.unwrap();
    let ingest = Ingest::new(store.clone(), Arc::<ManualClock>::clone(clock), policy(), ROOM);
    (store, ingest)
}

impl Lab {
    /// A county over an existing home.
    pub(crate) async fn at(home: &Path) -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let clock = Arc::new(ManualClock::at(NOW));
        let (store, ingest) = open(home, &disk, &clock).await;
        Self { dir, disk, clock, store, ingest }
    }

    pub(crate) async fn new() -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let clock = Arc::new(ManualClock::at(NOW));
        let (store, ingest) = open(dir.path(), &disk, &clock).await;
        Self { dir, disk, clock, store, ingest }
    }

    /// The same county after a restart.
    pub(crate) async fn restarted(self) -> Self {
        let Self { dir, disk, clock, store, ingest } = self;
        drop(ingest);
        store.close().await;
        let (store, ingest) = open(dir.path(), &disk, &clock).await;
        Self { dir, disk, clock, store, ingest }
    }

    pub(crate) async fn offer(&self, from: &str, manifest: &Manifest) -> Result<Vec<ObjectState>, Refusal> {
        self.ingest.offered(&clinic(from), manifest, NOW).await
    }

    /// Sends `range` of the coded form.
    pub(crate) async fn send(
        &self,
        from: &str,
        of: &StudyUid,
        object: &ManifestObject,
        coded: &[u8],
        range: Range<usize>,
    ) -> Result<Option<ObjectReceipt>, Refusal> {
        let mut writer = self.ingest.open_writer(&clinic(from), of, object, range.start as u64).await?;
        for chunk in coded[range].chunks(64 * 1024) {
            writer.write(Bytes::copy_from_slice(chunk)).await?;
        }
        writer.finish(NOW).await
    }

    /// Offers and sends whole objects as they are.
    pub(crate) async fn deliver(&self, from: &str, manifest: &Manifest, files: &[&[u8]]) {
        self.offer(from, manifest).await.unwrap();
        for bytes in files {
            let done = self.send(from, &manifest.study, &plain(bytes), bytes, 0..bytes.len()).await.unwrap();
            assert_eq!(done.unwrap().hash, ObjectHash::of(bytes));
        }
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        let mut tx = self.store.read().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap()
    }

    pub(crate) async fn text(&self, sql: &'static str) -> String {
        let mut tx = self.store.read().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap()
    }

    pub(crate) async fn events(&self) -> Vec<String> {
        let mut tx = self.store.read().await.unwrap();
        sqlx::query_scalar("SELECT type FROM event ORDER BY seq").fetch_all(&mut *tx).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        self.store
            .write(move |tx| {
                Box::pin(async move {
                    sqlx::query(sql)
                        .execute(tx)
                        .await
                        .map(|_| ())
                        .map_err(crate::store::StoreError::database("prepare a test"))
                })
            })
            .await
            .unwrap();
    }
}
