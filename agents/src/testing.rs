//! Small files for the tests of this crate.

use std::path::{Path, PathBuf};

/// The beginning of an HL7 annotated ECG.
pub(crate) const AECG: &[u8] =
    b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<AnnotatedECG xmlns=\"urn:hl7-org:v3\"><id root=\"1\"/></AnnotatedECG>";

fn element(out: &mut Vec<u8>, group: u16, number: u16, vr: [u8; 2], value: &[u8]) {
    let pad = if vr == *b"UI" { 0 } else { b' ' };
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(pad);
    }
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&vr);
    if matches!(&vr, b"OB" | b"OW" | b"SQ" | b"UN") {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        out.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend_from_slice(&value);
}

/// The data set of a square DX film, explicit little endian.
pub(crate) fn film_data_set(study: &str, series: &str, instance: &str, side: u16) -> Vec<u8> {
    let mut out = Vec::new();
    element(&mut out, 0x0008, 0x0016, *b"UI", b"1.2.840.10008.5.1.4.1.1.1.1");
    element(&mut out, 0x0008, 0x0018, *b"UI", instance.as_bytes());
    element(&mut out, 0x0008, 0x0020, *b"DA", b"20261103");
    element(&mut out, 0x0008, 0x0030, *b"TM", b"083000");
    element(&mut out, 0x0008, 0x0060, *b"CS", b"DX");
    element(&mut out, 0x0010, 0x0010, *b"PN", b"WANG^XIAODONG");
    element(&mut out, 0x0010, 0x0020, *b"LO", b"0001");
    element(&mut out, 0x0020, 0x000D, *b"UI", study.as_bytes());
    element(&mut out, 0x0020, 0x000E, *b"UI", series.as_bytes());
    element(&mut out, 0x0028, 0x0002, *b"US", &1_u16.to_le_bytes());
    element(&mut out, 0x0028, 0x0004, *b"CS", b"MONOCHROME2");
    element(&mut out, 0x0028, 0x0010, *b"US", &side.to_le_bytes());
    element(&mut out, 0x0028, 0x0011, *b"US", &side.to_le_bytes());
    element(&mut out, 0x0028, 0x0100, *b"US", &16_u16.to_le_bytes());
    element(&mut out, 0x0028, 0x0101, *b"US", &12_u16.to_le_bytes());
    element(&mut out, 0x0028, 0x0102, *b"US", &11_u16.to_le_bytes());
    element(&mut out, 0x0028, 0x0103, *b"US", &0_u16.to_le_bytes());
    // Distinct content per instance, but smooth: it compresses.
    let seed = instance.bytes().map(u32::from).sum::<u32>();
    let pixels: Vec<u8> = (0..u32::from(side) * u32::from(side))
        .flat_map(|i| u16::try_from((i / 7 + seed) % 4096).unwrap().to_le_bytes())
        .collect();
    element(&mut out, 0x7FE0, 0x0010, *b"OW", &pixels);
    out
}

/// A whole file: preamble, file meta, data set.
pub(crate) fn film(study: &str, series: &str, instance: &str, side: u16) -> Vec<u8> {
    let mut meta = Vec::new();
    element(&mut meta, 0x0002, 0x0001, *b"OB", &[0, 1]);
    element(&mut meta, 0x0002, 0x0002, *b"UI", b"1.2.840.10008.5.1.4.1.1.1.1");
    element(&mut meta, 0x0002, 0x0003, *b"UI", instance.as_bytes());
    element(&mut meta, 0x0002, 0x0010, *b"UI", b"1.2.840.10008.1.2.1");
    element(&mut meta, 0x0002, 0x0012, *b"UI", b"1.2.826.0.1.3680043.10.1");
    let mut out = vec![0; 128];
    out.extend_from_slice(b"DICM");
    let mut length = Vec::new();
    element(&mut length, 0x0002, 0x0000, *b"UL", &u32::try_from(meta.len()).unwrap().to_le_bytes());
    out.extend_from_slice(&length);
    out.extend_from_slice(&meta);
    out.extend_from_slice(&film_data_set(study, series, instance, side));
    out
}

/// Writes a test file.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    relay_core::durable::write_atomic(&relay_core::durable::RealDisk, &path, bytes, 0o600).unwrap();
    path
}

/// A spool on a disk that can be told to fail.
pub(crate) struct SpoolBench {
    _dir: tempfile::TempDir,
    pub(crate) spool: crate::spool::Spool,
}

impl SpoolBench {
    pub(crate) async fn new() -> Self {
        use crate::config::QuietSeconds;
        use crate::spool::{Spool, SpoolLimits, SpoolOptions};
        let dir = tempfile::tempdir().unwrap();
        let options = SpoolOptions {
            dir: dir.path().join("spool"),
            clinic: relay_core::ids::ClinicId::parse("shilipu").unwrap(),
            limits: SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 },
            quiet: QuietSeconds::default(),
        };
        let clock = std::sync::Arc::new(relay_core::clock::ManualClock::at(relay_core::clock::UtcMs(
            1_793_666_000_000,
        )));
        let disk = std::sync::Arc::new(relay_core::durable::RealDisk);
        Self { spool: Spool::open(options, disk, clock).await.unwrap(), _dir: dir }
    }
}
