//! Admission over any bytes: decided without panic, and what is accepted keeps its promises.
//!
//! At start the harness proves itself: a seed must be accepted and its cut must be refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_core::formats::dicom::{AdmitError, PixelForm, admit};
use relay_core::formats::text::{Charset, Field, written_name};
use relay_core::formats::{SNIFF_BYTES, Sniffed, sniff};
use std::io::Cursor;
use std::sync::Once;

static PROVED: Once = Once::new();

fn element(out: &mut Vec<u8>, group: u16, number: u16, vr: &[u8; 2], value: &[u8]) {
    out.extend(group.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend(vr);
    let length = u16::try_from(value.len()).expect("seed values are short");
    if vr == b"OW" {
        out.extend([0, 0]);
        out.extend(u32::from(length).to_le_bytes());
    } else {
        out.extend(length.to_le_bytes());
    }
    out.extend(value);
}

fn seed() -> Vec<u8> {
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    element(&mut out, 0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1\0");
    element(&mut out, 0x0008, 0x0016, b"UI", b"1.2.840.10008.5.1.4.1.1.1.1\0");
    element(&mut out, 0x0008, 0x0018, b"UI", b"1.2.3.4.5\0");
    element(&mut out, 0x0020, 0x000D, b"UI", b"1.2.3\0");
    element(&mut out, 0x0020, 0x000E, b"UI", b"1.2.3.4\0");
    element(&mut out, 0x0028, 0x0010, b"US", &[2, 0]);
    element(&mut out, 0x0028, 0x0011, b"US", &[2, 0]);
    element(&mut out, 0x0028, 0x0100, b"US", &[16, 0]);
    element(&mut out, 0x7FE0, 0x0010, b"OW", &[0; 8]);
    out
}

fuzz_target!(|data: &[u8]| {
    PROVED.call_once(|| {
        let seed = seed();
        assert!(admit(Cursor::new(&seed)).is_ok(), "the seed is accepted");
        assert!(admit(Cursor::new(&seed[..seed.len() - 1])).is_err(), "its cut is refused");
    });
    let head = &data[..data.len().min(SNIFF_BYTES)];
    let sniffed = sniff(head);
    match admit(Cursor::new(data)) {
        Ok(facts) => {
            assert!(
                matches!(sniffed, Sniffed::Dicom | Sniffed::DicomNoPreamble),
                "accepted what sniffing missed"
            );
            let _ = (facts.exam_time(), written_name(facts.patient_name.as_deref().unwrap_or_default()));
            if let PixelForm::Native { offset, length } = facts.pixels
                && facts.transfer_syntax != "1.2.840.10008.1.2.1.99"
            {
                assert!(offset + length <= data.len() as u64, "accepted pixels beyond the file");
            }
        }
        Err(AdmitError::Refused(refusal)) => assert!(!refusal.reason.is_empty()),
        Err(AdmitError::Io(error)) => panic!("memory does not fail: {error}"),
    }
    let split = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    let charset = Charset::of(&String::from_utf8_lossy(&data[..split]));
    for field in [Field::Name, Field::Line, Field::Paragraph] {
        let _ = charset.decode(&data[split..], field);
    }
});
