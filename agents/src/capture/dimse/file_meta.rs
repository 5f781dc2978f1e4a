//! Our own file meta information (PS3.10 §7.1) in front of the data set as it came. The same object sent again gets
//! the same bytes, so nothing of the association goes into it.

/// Root of our UIDs: derived by UUID, PS3.5 §B.2.
pub(crate) const IMPLEMENTATION_CLASS: &str = "2.25.211866934093574321409876543210123456";
/// (0002,0013).
pub(crate) const IMPLEMENTATION_VERSION: &str = "RELAY_1";

/// Preamble, `DICM` and group 0002.
pub(super) fn file_meta(sop_class: &str, sop_instance: &str, transfer_syntax: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    body.extend_from_slice(&[0x02, 0, 0x01, 0, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 1]);
    short(&mut body, 0x0002, *b"UI", sop_class, 0);
    short(&mut body, 0x0003, *b"UI", sop_instance, 0);
    short(&mut body, 0x0010, *b"UI", transfer_syntax, 0);
    short(&mut body, 0x0012, *b"UI", IMPLEMENTATION_CLASS, 0);
    short(&mut body, 0x0013, *b"SH", IMPLEMENTATION_VERSION, b' ');
    let mut out = vec![0; 128];
    out.extend_from_slice(b"DICM");
    out.extend_from_slice(&[0x02, 0, 0, 0, b'U', b'L', 4, 0]);
    out.extend_from_slice(&u32::try_from(body.len()).expect("invariant: file meta is small").to_le_bytes());
    out.extend_from_slice(&body);
    out
}

fn short(out: &mut Vec<u8>, number: u16, vr: [u8; 2], text: &str, pad: u8) {
    let odd = text.len() % 2;
    out.extend_from_slice(&[0x02, 0]);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&vr);
    let length = u16::try_from(text.len() + odd).expect("invariant: a UID has at most 64 characters");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.extend(std::iter::repeat_n(pad, odd));
}
