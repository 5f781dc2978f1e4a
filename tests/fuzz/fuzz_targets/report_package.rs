//! Report packages and signed manifests over any bytes: refused, or the same bytes when they are written again.
//!
//! At start the harness proves itself: a package is read, its cut is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_core::report::{ReportPackage, ReviewManifest, SignedManifest, canonical_json};
use std::sync::Once;

static PROVED: Once = Once::new();

fn seed() -> Vec<u8> {
    let package = ReportPackage {
        manifest: b"{}".to_vec(),
        json: b"{}".to_vec(),
        pdf: b"%PDF".to_vec(),
        author_cms: vec![0x30, 0],
        review: Some((b"{}".to_vec(), vec![0x30, 0])),
        revocations: Some(vec![0x30, 0]),
    };
    package.encode().expect("a small package")
}

fuzz_target!(|data: &[u8]| {
    PROVED.call_once(|| {
        let seed = seed();
        assert!(ReportPackage::decode(&seed).is_ok(), "the seed is accepted");
        assert!(ReportPackage::decode(&seed[..seed.len() - 1]).is_err(), "its cut is refused");
    });
    // Bytes of any kind, and changes to a package of ours.
    let mut near = seed();
    for change in data.as_chunks::<3>().0 {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % near.len();
        near[at] ^= change[2];
    }
    for bytes in [data, &near] {
        match ReportPackage::decode(bytes) {
            Ok(package) => assert!(package.encode().is_ok_and(|again| again == bytes), "one form only"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if let Ok(manifest) = SignedManifest::from_canonical(data) {
        assert!(canonical_json(&manifest).is_ok_and(|again| again == data), "one form only");
    }
    if let Ok(manifest) = ReviewManifest::from_canonical(data) {
        assert!(canonical_json(&manifest).is_ok_and(|again| again == data), "one form only");
    }
});
