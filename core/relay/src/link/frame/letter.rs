//! Letters and notes.

use super::{Frame, read_refusal};
use crate::clock::UtcMs;
use crate::ids::LetterId;
use crate::letter::{LetterHead, LetterKind, Note, NoteKind};
use crate::limits::{MAX_LETTER_BYTES, MAX_NOTE_BYTES};
use crate::link::wire::{Field, FieldError, FieldWriter, Once, each_field};

/// Bytes of a device signature: ECDSA P-256 has at most 72, and a later suite may have more.
const MAX_SIGNATURE_BYTES: usize = 1_024;
/// Bytes of a device certificate: ours have about 700.
const MAX_CERTIFICATE_BYTES: usize = 4_096;

pub(super) fn write_head(w: &mut FieldWriter, head: &LetterHead) {
    w.text(1, head.id.as_str()).number(2, u64::from(head.kind.number())).text(3, head.study.as_str());
    w.number(4, head.length).hash(5, &head.hash).time(6, head.written_at);
}

pub(super) fn read_head(fields: &[u8]) -> Result<LetterHead, FieldError> {
    let (mut id, mut kind, mut study) = (Once::new("id"), Once::new("kind"), Once::new("study"));
    let (mut length, mut hash, mut written) =
        (Once::new("length"), Once::new("hash"), Once::new("written_at"));
    each_field(fields, |f| match f.tag {
        1 => id.set(|n| f.parsed(n)),
        2 => kind.set(|n| f.word(n, LetterKind::from_number)),
        3 => study.set(|n| f.parsed(n)),
        4 => length.set(|n| f.number(n)),
        5 => hash.set(|n| f.hash(n)),
        6 => written.set(|n| f.time(n)),
        _ => Ok(()),
    })?;
    let length = length.need()?;
    if length > MAX_LETTER_BYTES {
        let reason = format!("{length} bytes, at most {MAX_LETTER_BYTES} are lawful");
        return Err(FieldError::Value { name: "length", reason });
    }
    Ok(LetterHead {
        id: id.need()?,
        kind: kind.need()?,
        study: study.need()?,
        length,
        hash: hash.need()?,
        written_at: written.need()?,
    })
}

pub(super) fn read_id(fields: &[u8]) -> Result<LetterId, FieldError> {
    let mut id = Once::new("id");
    each_field(fields, |f| match f.tag {
        1 => id.set(|n| f.parsed(n)),
        _ => Ok(()),
    })?;
    id.need()
}

pub(super) fn read_stored(fields: &[u8]) -> Result<(LetterId, UtcMs), FieldError> {
    let (mut id, mut stored_at) = (Once::new("id"), Once::new("stored_at"));
    each_field(fields, |f| match f.tag {
        1 => id.set(|n| f.parsed(n)),
        2 => stored_at.set(|n| f.time(n)),
        _ => Ok(()),
    })?;
    Ok((id.need()?, stored_at.need()?))
}

pub(super) fn read_refused(fields: &[u8]) -> Result<Frame, FieldError> {
    let (mut id, mut refusal) = (Once::new("id"), Once::new("refusal"));
    each_field(fields, |f| match f.tag {
        1 => id.set(|n| f.parsed(n)),
        2 => refusal.set(|_| read_refusal(f.value)),
        _ => Ok(()),
    })?;
    Ok(Frame::LetterRefused { id: id.need()?, refusal: refusal.need()? })
}

pub(super) fn write_note(w: &mut FieldWriter, note: &Note) {
    w.text(1, note.id.as_str()).number(2, u64::from(note.kind.number()));
    w.bytes(3, &note.body).bytes(4, &note.signature);
    if !note.certificate.is_empty() {
        w.bytes(5, &note.certificate);
    }
}

pub(super) fn bounded(f: Field<'_>, name: &'static str, max: usize) -> Result<Vec<u8>, FieldError> {
    if f.value.len() > max {
        let reason = format!("{} bytes, at most {max} are lawful", f.value.len());
        return Err(FieldError::Value { name, reason });
    }
    Ok(f.value.to_vec())
}

pub(super) fn read_note(fields: &[u8]) -> Result<Note, FieldError> {
    let (mut id, mut kind) = (Once::new("id"), Once::new("kind"));
    let (mut body, mut signature) = (Once::new("body"), Once::new("signature"));
    let mut certificate = Once::new("certificate");
    each_field(fields, |f| match f.tag {
        1 => id.set(|n| f.parsed(n)),
        2 => kind.set(|n| f.word(n, NoteKind::from_number)),
        3 => body.set(|n| bounded(f, n, MAX_NOTE_BYTES)),
        4 => signature.set(|n| bounded(f, n, MAX_SIGNATURE_BYTES)),
        5 => certificate.set(|n| bounded(f, n, MAX_CERTIFICATE_BYTES)),
        _ => Ok(()),
    })?;
    Ok(Note {
        id: id.need()?,
        kind: kind.need()?,
        body: body.need()?,
        signature: signature.need()?,
        certificate: certificate.get().unwrap_or_default(),
    })
}

pub(super) fn read_note_receipt(fields: &[u8]) -> Result<Frame, FieldError> {
    let mut id = Once::new("id");
    each_field(fields, |f| match f.tag {
        1 => id.set(|n| f.parsed(n)),
        _ => Ok(()),
    })?;
    Ok(Frame::NoteReceipt { id: id.need()? })
}
