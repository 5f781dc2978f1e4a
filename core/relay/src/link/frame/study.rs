//! Manifest, its answer, receipts, progress, and the header of object data.

use super::{Frame, ObjectData, ObjectReceipt, ObjectState, ObjectStates, read_refusal, write_refusal};
use crate::ids::{Sha256, StudyUid};
use crate::limits::{MAX_CONTEXT_CHARS, MAX_OBJECTS_PER_STUDY};
use crate::link::limits::MAX_RANGES_PER_OBJECT;
use crate::link::wire::{Field, FieldError, FieldWriter, Once, each_field};
use crate::study::{
    Class, CodedForm, Completeness, Encoding, Kind, Manifest, ManifestObject, ObjectKind, StudyContext,
};
use std::ops::Range;

pub(super) fn write_manifest(w: &mut FieldWriter, manifest: &Manifest) {
    w.text(1, manifest.study.as_str()).number(2, manifest.generation);
    w.number(3, u64::from(manifest.class.number())).number(4, u64::from(manifest.kind.number()));
    w.number(5, u64::from(manifest.completeness.number())).time(6, manifest.first_object_at);
    if let Some(at) = manifest.exam_completed_at {
        w.time(7, at);
    }
    w.number(8, u64::from(manifest.time_suspect)).text(9, &manifest.source);
    w.group(10, |w| write_context(w, &manifest.context));
    for object in &manifest.objects {
        w.group(11, |w| write_object(w, object));
    }
}

fn write_context(w: &mut FieldWriter, context: &StudyContext) {
    for (tag, (_, text)) in (1..).zip(context.texts()) {
        w.text_opt(tag, text);
    }
    w.text_opt(8, context.retake_of.as_ref().map(StudyUid::as_str));
}

fn write_object(w: &mut FieldWriter, object: &ManifestObject) {
    w.hash(1, &object.hash).number(2, object.length).number(3, u64::from(object.kind.number()));
    w.text_opt(4, object.instance.as_ref().map(|u| u.as_str()));
    w.text_opt(5, object.series.as_ref().map(|u| u.as_str()));
    let plain = CodedForm { encoding: Encoding::Identity, length: object.length, hash: object.hash };
    // The plain form is the default and need not be said: it saves 40 bytes an object.
    if object.coded != plain {
        w.group(6, |w| {
            w.number(1, u64::from(object.coded.encoding.number()));
            w.number(2, object.coded.length).hash(3, &object.coded.hash);
        });
    }
}

pub(super) fn read_manifest(fields: &[u8]) -> Result<Manifest, FieldError> {
    let (mut study, mut generation) = (Once::new("study"), Once::new("generation"));
    let (mut class, mut kind) = (Once::new("class"), Once::new("kind"));
    let (mut completeness, mut first) = (Once::new("completeness"), Once::new("first_object_at"));
    let (mut exam, mut suspect) = (Once::new("exam_completed_at"), Once::new("time_suspect"));
    let (mut source, mut context) = (Once::new("source"), Once::new("context"));
    let mut objects = Vec::new();
    each_field(fields, |f| match f.tag {
        1 => study.set(|n| f.parsed(n)),
        2 => generation.set(|n| f.number(n)),
        3 => class.set(|n| f.word(n, Class::from_number)),
        4 => kind.set(|n| f.word(n, Kind::from_number)),
        5 => completeness.set(|n| f.word(n, Completeness::from_number)),
        6 => first.set(|n| f.time(n)),
        7 => exam.set(|n| f.time(n)),
        8 => suspect.set(|n| f.flag(n)),
        9 => source.set(|n| f.text(n, MAX_CONTEXT_CHARS).map(str::to_owned)),
        10 => context.set(|_| read_context(f.value)),
        11 => push_bounded(&mut objects, MAX_OBJECTS_PER_STUDY, "objects", read_object(f.value)?),
        _ => Ok(()),
    })?;
    Ok(Manifest {
        study: study.need()?,
        generation: generation.need()?,
        class: class.need()?,
        kind: kind.need()?,
        completeness: completeness.need()?,
        first_object_at: first.need()?,
        exam_completed_at: exam.get(),
        time_suspect: suspect.need()?,
        source: source.need()?,
        context: context.get().unwrap_or_default(),
        objects,
    })
}

fn push_bounded<T>(list: &mut Vec<T>, max: usize, name: &'static str, item: T) -> Result<(), FieldError> {
    if list.len() >= max {
        return Err(FieldError::Value { name, reason: format!("more than {max}") });
    }
    list.push(item);
    Ok(())
}

fn read_context(fields: &[u8]) -> Result<StudyContext, FieldError> {
    let names = StudyContext::default().texts().map(|(name, _)| name);
    let mut texts = names.map(Once::new);
    let mut retake_of = Once::new("retake_of");
    each_field(fields, |f| match f.tag {
        tag @ 1..=7 => {
            let slot = usize::try_from(tag - 1).expect("invariant: 0 to 6");
            texts[slot].set(|n| f.text(n, MAX_CONTEXT_CHARS).map(str::to_owned))
        }
        8 => retake_of.set(|n| f.parsed(n)),
        _ => Ok(()),
    })?;
    let [complaint, phone, doctor, patient_name, patient_id, patient_sex, patient_birth_date] =
        texts.map(Once::get);
    let retake_of = retake_of.get();
    Ok(StudyContext {
        complaint,
        phone,
        doctor,
        patient_name,
        patient_id,
        patient_sex,
        patient_birth_date,
        retake_of,
    })
}

fn read_object(fields: &[u8]) -> Result<ManifestObject, FieldError> {
    let (mut hash, mut length) = (Once::new("objects.hash"), Once::new("objects.length"));
    let (mut kind, mut instance) = (Once::new("objects.kind"), Once::new("objects.instance"));
    let (mut series, mut coded) = (Once::new("objects.series"), Once::new("objects.coded"));
    each_field(fields, |f| match f.tag {
        1 => hash.set(|n| f.hash(n)),
        2 => length.set(|n| f.number(n)),
        3 => kind.set(|n| f.word(n, ObjectKind::from_number)),
        4 => instance.set(|n| f.parsed(n)),
        5 => series.set(|n| f.parsed(n)),
        6 => coded.set(|_| read_coded(f.value)),
        _ => Ok(()),
    })?;
    let (hash, length) = (hash.need()?, length.need()?);
    let coded = coded.get().unwrap_or(CodedForm { encoding: Encoding::Identity, length, hash });
    Ok(ManifestObject {
        hash,
        length,
        kind: kind.need()?,
        instance: instance.get(),
        series: series.get(),
        coded,
    })
}

fn read_coded(fields: &[u8]) -> Result<CodedForm, FieldError> {
    let (mut encoding, mut length) = (Once::new("objects.coded.encoding"), Once::new("objects.coded.length"));
    let mut hash = Once::new("objects.coded.hash");
    each_field(fields, |f| match f.tag {
        1 => encoding.set(|n| f.word(n, Encoding::from_number)),
        2 => length.set(|n| f.number(n)),
        3 => hash.set(|n| f.hash(n)),
        _ => Ok(()),
    })?;
    Ok(CodedForm { encoding: encoding.need()?, length: length.need()?, hash: hash.need()? })
}

pub(super) fn write_states(w: &mut FieldWriter, answer: &ObjectStates) {
    w.text(1, answer.study.as_str()).number(2, answer.generation).time(3, answer.at);
    for (hash, state) in &answer.states {
        w.group(4, |w| {
            w.hash(1, hash);
            match state {
                ObjectState::Stored => {
                    w.number(2, 1);
                }
                ObjectState::Missing(ranges) => {
                    w.number(2, 2);
                    for range in ranges.iter().take(MAX_RANGES_PER_OBJECT) {
                        w.group(3, |w| write_range(w, range));
                    }
                }
                ObjectState::Refused(refusal) => {
                    w.number(2, 3).group(4, |w| write_refusal(w, refusal));
                }
            }
        });
    }
}

fn write_range(w: &mut FieldWriter, range: &Range<u64>) {
    w.number(1, range.start).number(2, range.end);
}

fn read_range(f: Field<'_>) -> Result<Range<u64>, FieldError> {
    let (mut start, mut end) = (Once::new("range.start"), Once::new("range.end"));
    each_field(f.value, |f| match f.tag {
        1 => start.set(|n| f.number(n)),
        2 => end.set(|n| f.number(n)),
        _ => Ok(()),
    })?;
    let (start, end) = (start.need()?, end.need()?);
    if start >= end {
        return Err(FieldError::Value { name: "range", reason: format!("{start}..{end} is empty") });
    }
    Ok(start..end)
}

pub(super) fn read_states(fields: &[u8]) -> Result<ObjectStates, FieldError> {
    let (mut study, mut generation, mut at) = (Once::new("study"), Once::new("generation"), Once::new("at"));
    let mut states = Vec::new();
    each_field(fields, |f| match f.tag {
        1 => study.set(|n| f.parsed(n)),
        2 => generation.set(|n| f.number(n)),
        3 => at.set(|n| f.time(n)),
        4 => push_bounded(&mut states, MAX_OBJECTS_PER_STUDY, "states", read_state(f.value)?),
        _ => Ok(()),
    })?;
    Ok(ObjectStates { study: study.need()?, generation: generation.need()?, at: at.need()?, states })
}

fn read_state(fields: &[u8]) -> Result<(crate::ids::ObjectHash, ObjectState), FieldError> {
    let (mut hash, mut kind) = (Once::new("states.hash"), Once::new("states.kind"));
    let (mut ranges, mut refusal) = (Vec::new(), Once::new("states.refusal"));
    each_field(fields, |f| match f.tag {
        1 => hash.set(|n| f.hash(n)),
        2 => kind.set(|n| f.number(n)),
        3 => push_bounded(&mut ranges, MAX_RANGES_PER_OBJECT, "states.ranges", read_range(f)?),
        4 => refusal.set(|_| read_refusal(f.value)),
        _ => Ok(()),
    })?;
    let state = match kind.need()? {
        1 => ObjectState::Stored,
        2 => ObjectState::Missing(ranges),
        3 => ObjectState::Refused(refusal.need()?),
        other => {
            let reason = format!("unknown value {other}");
            return Err(FieldError::Value { name: "states.kind", reason });
        }
    };
    Ok((hash.need()?, state))
}

pub(super) fn write_receipts(
    w: &mut FieldWriter,
    study: &StudyUid,
    generation: u64,
    receipts: &[ObjectReceipt],
) {
    w.text(1, study.as_str()).number(2, generation);
    for receipt in receipts {
        w.group(3, |w| {
            w.hash(1, &receipt.hash).bytes(2, &receipt.sha256.0).time(3, receipt.stored_at);
        });
    }
}

pub(super) fn read_receipts(fields: &[u8]) -> Result<Frame, FieldError> {
    let (mut study, mut generation, mut receipts) = (Once::new("study"), Once::new("generation"), Vec::new());
    each_field(fields, |f| match f.tag {
        1 => study.set(|n| f.parsed(n)),
        2 => generation.set(|n| f.number(n)),
        3 => push_bounded(&mut receipts, MAX_OBJECTS_PER_STUDY, "receipts", read_receipt(f.value)?),
        _ => Ok(()),
    })?;
    Ok(Frame::ObjectReceipts { study: study.need()?, generation: generation.need()?, receipts })
}

fn read_receipt(fields: &[u8]) -> Result<ObjectReceipt, FieldError> {
    let (mut hash, mut sha256) = (Once::new("receipts.hash"), Once::new("receipts.sha256"));
    let mut stored_at = Once::new("receipts.stored_at");
    each_field(fields, |f| match f.tag {
        1 => hash.set(|n| f.hash(n)),
        2 => sha256.set(|n| f.hash(n).map(|h| Sha256(h.0))),
        3 => stored_at.set(|n| f.time(n)),
        _ => Ok(()),
    })?;
    Ok(ObjectReceipt { hash: hash.need()?, sha256: sha256.need()?, stored_at: stored_at.need()? })
}

pub(super) fn read_progress(fields: &[u8]) -> Result<Frame, FieldError> {
    let (mut study, mut object, mut received) =
        (Once::new("study"), Once::new("object"), Once::new("received"));
    each_field(fields, |f| match f.tag {
        1 => study.set(|n| f.parsed(n)),
        2 => object.set(|n| f.hash(n)),
        3 => received.set(|n| f.number(n)),
        _ => Ok(()),
    })?;
    Ok(Frame::ObjectProgress { study: study.need()?, object: object.need()?, received: received.need()? })
}

pub(super) fn read_want(fields: &[u8]) -> Result<Frame, FieldError> {
    let (mut study, mut objects) = (Once::new("study"), Vec::new());
    each_field(fields, |f| match f.tag {
        1 => study.set(|n| f.parsed(n)),
        2 => {
            objects.push(f.hash("objects")?);
            Ok(())
        }
        _ => Ok(()),
    })?;
    Ok(Frame::Want { study: study.need()?, objects })
}

pub(super) fn write_data(w: &mut FieldWriter, data: &ObjectData) {
    w.text(1, data.study.as_str()).hash(2, &data.object).number(3, data.offset).number(4, data.length);
}

pub(super) fn read_data(fields: &[u8]) -> Result<ObjectData, FieldError> {
    let (mut study, mut object) = (Once::new("study"), Once::new("object"));
    let (mut offset, mut length) = (Once::new("offset"), Once::new("length"));
    each_field(fields, |f| match f.tag {
        1 => study.set(|n| f.parsed(n)),
        2 => object.set(|n| f.hash(n)),
        3 => offset.set(|n| f.number(n)),
        4 => length.set(|n| f.number(n)),
        _ => Ok(()),
    })?;
    let (study, object, offset, length) = (study.need()?, object.need()?, offset.need()?, length.need()?);
    if length == 0 || offset.checked_add(length).is_none() {
        return Err(FieldError::Value { name: "length", reason: format!("{length} bytes from {offset}") });
    }
    Ok(ObjectData { study, object, offset, length })
}
