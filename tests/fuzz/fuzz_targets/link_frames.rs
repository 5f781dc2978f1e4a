//! The frames of the link over any bytes: each is read, skipped by name or ends the stream; what is read means the same when
//! it is written and read again. Manifests, letters' heads, notes, revocation lists and refusals are inside.
//!
//! At start the harness proves itself: a frame is read, its cut waits, its unlawful neighbour is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_core::limits::MAX_FRAME_BYTES;
use relay_core::link::frame::{Frame, FrameError, FrameReader, FrameType};
use std::sync::Once;

static PROVED: Once = Once::new();

fn read(bytes: &[u8]) -> Option<Result<Frame, FrameError>> {
    let mut reader = FrameReader::new(MAX_FRAME_BYTES);
    reader.push(bytes);
    reader.next_frame()
}

fn prove() {
    let frame = Frame::Revocations { list: vec![0x30, 0] };
    let bytes = frame.encode().expect("a small frame");
    assert!(read(&bytes) == Some(Ok(frame)), "the seed is accepted");
    assert!(read(&bytes[..bytes.len() - 1]).is_none(), "its cut waits for more");
    let mut strange = bytes;
    strange[6] = 2;
    assert!(
        matches!(read(&strange), Some(Err(FrameError::Malformed { .. }))),
        "without its list it is refused"
    );
}

fn check(frame: Result<Frame, FrameError>) -> bool {
    match frame {
        Ok(frame) => {
            let bytes = frame.encode().expect("what was read within the limit is written within it");
            // The first writing may cut a reason that names a code of a later version; from then on nothing changes.
            let Some(Ok(once)) = read(&bytes) else { panic!("what was written is read") };
            assert!(once.kind() == frame.kind(), "it is the same frame");
            let again = once.encode().expect("written before");
            assert!(read(&again) == Some(Ok(once)), "it means the same");
            true
        }
        Err(error) => {
            assert!(!error.refusal().reason.is_empty() && !error.refusal().field.is_empty());
            !matches!(error, FrameError::TooLarge { .. } | FrameError::TooShort { .. })
        }
    }
}

fuzz_target!(|data: &[u8]| {
    PROVED.call_once(prove);
    let Some((head, rest)) = data.split_first_chunk::<2>() else { return };
    // As a stream of bytes in pieces.
    let mut reader = FrameReader::new(MAX_FRAME_BYTES);
    'stream: for piece in data.chunks(1 + usize::from(head[0])) {
        reader.push(piece);
        while let Some(frame) = reader.next_frame() {
            if !check(frame) {
                break 'stream;
            }
        }
    }
    // As the fields of one type, so that length and type need not be found first.
    let kind = FrameType::ALL[usize::from(head[1]) % FrameType::ALL.len()];
    check(Frame::decode(&[&kind.number().to_be_bytes()[..], rest].concat()));
});
