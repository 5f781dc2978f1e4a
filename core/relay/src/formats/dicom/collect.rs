//! Reading the data set up to its pixels and keeping the few values that are wanted.

use super::AdmitError;
use super::element::{Header, Next};
use super::facts::{DicomFacts, Note};
use super::input::Input;
use super::start::Opened;
use super::syntax::{PixelForm, SyntaxFamily};
use super::tag::Tag;
use super::walk::{Walker, beyond};
use crate::codes::{Code, Refusal};
use crate::formats::text::{Charset, Decoded, Field};
use crate::formats::time::ExamTimeTexts;
use crate::ids::{IdError, InstanceUid};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};
use std::str::FromStr;

/// Most bytes kept of one wanted value; the longest lawful ones here (LO, PN) have a few hundred. With the
/// [`WANTED`] elements this bounds what one walk keeps to about 100 KiB.
const KEPT_VALUE_BYTES: u64 = 2048;
/// The SOP class of a media directory, which is no object (PS3.3 §F).
const DICOMDIR: &str = "1.2.840.10008.1.3.10";

/// The elements that are kept, sorted.
const WANTED: &[Tag] = &[
    Tag::CHARSET,
    Tag::SOP_CLASS,
    Tag::SOP_INSTANCE,
    Tag::STUDY_DATE,
    Tag::SERIES_DATE,
    Tag::ACQUISITION_DATE,
    Tag::CONTENT_DATE,
    Tag::ACQUISITION_DATE_TIME,
    Tag::STUDY_TIME,
    Tag::SERIES_TIME,
    Tag::ACQUISITION_TIME,
    Tag::CONTENT_TIME,
    Tag::ACCESSION,
    Tag::MODALITY,
    Tag::MANUFACTURER,
    Tag::INSTITUTION,
    Tag::REFERRING_PHYSICIAN,
    Tag::TIMEZONE_OFFSET,
    Tag::STATION,
    Tag::STUDY_DESCRIPTION,
    Tag::SERIES_DESCRIPTION,
    Tag::OPERATORS_NAME,
    Tag::MODEL,
    Tag::PATIENT_NAME,
    Tag::PATIENT_ID,
    Tag::BIRTH_DATE,
    Tag::SEX,
    Tag::AGE,
    Tag::BODY_PART,
    Tag::KVP,
    Tag::DEVICE_SERIAL,
    Tag::PROTOCOL,
    Tag::EXPOSURE,
    Tag::VIEW_POSITION,
    Tag::STUDY_UID,
    Tag::SERIES_UID,
    Tag::STUDY_ID,
    Tag::SERIES_NUMBER,
    Tag::INSTANCE_NUMBER,
    Tag::LATERALITY,
    Tag::IMAGE_LATERALITY,
    Tag::SAMPLES,
    Tag::PHOTOMETRIC,
    Tag::PLANAR,
    Tag::FRAMES,
    Tag::ROWS,
    Tag::COLUMNS,
    Tag::BITS_ALLOCATED,
    Tag::BITS_STORED,
    Tag::PIXEL_REPRESENTATION,
    Tag::LOSSY,
    Tag::REQUESTING_SERVICE,
    Tag::ADMISSION_ID,
];

/// Elements of which a second, different value is worth a note.
const IDENTIFYING: &[Tag] = &[
    Tag::SOP_INSTANCE,
    Tag::STUDY_UID,
    Tag::SERIES_UID,
    Tag::PATIENT_NAME,
    Tag::PATIENT_ID,
    Tag::BIRTH_DATE,
];

/// The values of one data set.
#[derive(Debug)]
pub(super) struct Collected {
    values: BTreeMap<Tag, Vec<u8>>,
    big_endian: bool,
    transfer_syntax: String,
    meta_sop_class: Option<String>,
    meta_sop_instance: Option<String>,
    is_waveform: bool,
    notes: BTreeSet<Note>,
}

/// Walks the data set. The second value is the pixel data's header, whose value `input` stands at.
pub(super) fn read<R: Read + Seek>(
    opened: Opened<R>,
) -> Result<(Input<R>, Collected, Option<Header>), AdmitError> {
    let Opened { mut input, coding, transfer_syntax, meta_sop_class, meta_sop_instance, notes } = opened;
    let mut walker = Walker::new(coding);
    let mut out = Collected {
        values: BTreeMap::new(),
        big_endian: coding.big_endian,
        transfer_syntax,
        meta_sop_class,
        meta_sop_instance,
        is_waveform: false,
        notes,
    };
    loop {
        let header = match walker.header(&mut input, coding)? {
            Next::Element(header) => header,
            Next::End => return Ok((input, out, None)),
            Next::ZeroTail => {
                out.notes.insert(Note::ZeroTail);
                return Ok((input, out, None));
            }
        };
        if header.odd_vr {
            out.notes.insert(Note::UnknownVr);
        }
        if header.length().is_some_and(|length| length % 2 == 1) {
            out.notes.insert(Note::OddLength);
        }
        if header.tag.is_pixels() {
            return Ok((input, out, Some(header)));
        }
        out.is_waveform |= header.tag == Tag::WAVEFORM_SEQUENCE;
        match header.length() {
            // Delimiters that close nothing carry nothing.
            _ if matches!(header.tag, Tag::ITEM_END | Tag::SEQUENCE_END) => {}
            Some(length) if WANTED.binary_search(&header.tag).is_ok() => {
                out.keep(&mut input, header.tag, length)?;
            }
            _ => walker.pass(&mut input, &header)?,
        }
    }
}

impl Collected {
    fn keep<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        tag: Tag,
        length: u64,
    ) -> Result<(), AdmitError> {
        if length > input.left() {
            return Err(beyond(tag, length, input).into());
        }
        let kept = length.min(KEPT_VALUE_BYTES);
        let mut value = vec![0u8; usize::try_from(kept).unwrap_or_default()];
        if (input.fill(&mut value)? as u64) < kept || !input.skip(length - kept)? {
            return Err(beyond(tag, length, input).into());
        }
        if kept < length {
            self.notes.insert(Note::Shortened(tag));
        }
        match self.values.get(&tag) {
            Some(first) if *first != value && IDENTIFYING.contains(&tag) => {
                self.notes.insert(Note::Duplicate(tag));
            }
            Some(_) => {}
            None => {
                self.values.insert(tag, value);
            }
        }
        Ok(())
    }

    /// Checks the UIDs and decodes the rest.
    pub(super) fn into_facts(mut self) -> Result<DicomFacts, AdmitError> {
        let sop_class = self.uid::<InstanceUid>(Tag::SOP_CLASS)?.to_string();
        let sop_instance_uid: InstanceUid = self.uid(Tag::SOP_INSTANCE)?;
        let study_uid = self.uid(Tag::STUDY_UID)?;
        let series_uid = self.uid(Tag::SERIES_UID)?;
        if self.meta_sop_instance.as_deref().is_some_and(|meta| meta != sop_instance_uid.as_str()) {
            self.notes.insert(Note::MetaInstanceDiffers);
        }
        let charset_raw = self.ascii(Tag::CHARSET);
        let charset = Charset::of(charset_raw.as_deref().unwrap_or_default());
        let texts =
            Texts { values: &self.values, charset, repaired: Cell::new(false), unreadable: Cell::new(false) };
        let name = texts.decode(Tag::PATIENT_NAME, Field::Name);
        let text = |tag| texts.decode(tag, Field::Line).map(|d| d.text);
        let bits = |tag| self.number(tag).and_then(|n| u16::try_from(n).ok());
        let mut facts = DicomFacts {
            body_part: text(Tag::BODY_PART),
            laterality: self.ascii(Tag::IMAGE_LATERALITY).or_else(|| self.ascii(Tag::LATERALITY)),
            protocol: text(Tag::PROTOCOL),
            accession: text(Tag::ACCESSION),
            study_id: text(Tag::STUDY_ID),
            study_description: text(Tag::STUDY_DESCRIPTION),
            series_description: text(Tag::SERIES_DESCRIPTION),
            referring_physician: text(Tag::REFERRING_PHYSICIAN),
            institution: text(Tag::INSTITUTION),
            station: text(Tag::STATION),
            manufacturer: text(Tag::MANUFACTURER),
            model: text(Tag::MODEL),
            device_serial: text(Tag::DEVICE_SERIAL),
            operators: text(Tag::OPERATORS_NAME),
            requesting_service: text(Tag::REQUESTING_SERVICE),
            admission_id: text(Tag::ADMISSION_ID),
            kvp: self.ascii(Tag::KVP),
            exposure_mas: self.ascii(Tag::EXPOSURE),
            patient_id: text(Tag::PATIENT_ID),
            patient_name_raw: self.values.get(&Tag::PATIENT_NAME).cloned().unwrap_or_default(),
            patient_name_repaired: name.as_ref().is_some_and(|d| d.repaired),
            patient_name: name.map(|d| d.text),
            sex: self.ascii(Tag::SEX),
            birth_date: self.ascii(Tag::BIRTH_DATE),
            age: self.ascii(Tag::AGE),
            times: self.times(),
            view_position: self.ascii(Tag::VIEW_POSITION),
            modality: self.ascii(Tag::MODALITY),
            series_number: self.ascii(Tag::SERIES_NUMBER),
            instance_number: self.ascii(Tag::INSTANCE_NUMBER),
            rows: self.number(Tag::ROWS),
            columns: self.number(Tag::COLUMNS),
            frames: self.ascii(Tag::FRAMES).and_then(|t| t.parse().ok()),
            samples: bits(Tag::SAMPLES),
            bits_allocated: bits(Tag::BITS_ALLOCATED),
            bits_stored: bits(Tag::BITS_STORED),
            planar: bits(Tag::PLANAR) == Some(1),
            signed: bits(Tag::PIXEL_REPRESENTATION) == Some(1),
            big_endian: self.big_endian,
            deflated: false,
            photometric: self.ascii(Tag::PHOTOMETRIC),
            lossy: self.ascii(Tag::LOSSY).as_deref() == Some("01"),
            pixels: PixelForm::None,
            is_waveform: self.is_waveform,
            syntax_family: SyntaxFamily::of(&self.transfer_syntax),
            transfer_syntax: self.transfer_syntax.clone(),
            charset_raw,
            sop_class,
            sop_instance_uid,
            study_uid,
            series_uid,
            notes: Vec::new(),
        };
        for (seen, note) in [(&texts.repaired, Note::TextRepaired), (&texts.unreadable, Note::TextUnreadable)]
        {
            if seen.get() {
                self.notes.insert(note);
            }
        }
        if has_leading_zero(&facts) {
            self.notes.insert(Note::UidLeadingZero);
        }
        facts.notes = self.notes.into_iter().collect();
        Ok(facts)
    }

    /// A UID in its lawful form.
    fn uid<T: FromStr<Err = IdError>>(&self, tag: Tag) -> Result<T, AdmitError> {
        let refuse =
            |reason: String| AdmitError::from(Refusal::new(Code::RefusedUid, tag.to_string(), reason));
        let Some(value) = self.values.get(&tag) else {
            let directory = self.meta_sop_class.as_deref() == Some(DICOMDIR);
            let reason = if directory {
                "absent: this is a DICOMDIR, a media directory, not an object"
            } else {
                "absent"
            };
            return Err(refuse(reason.to_owned()));
        };
        let text = String::from_utf8_lossy(value);
        parsed(tag, text.trim_end_matches(['\0', ' ']))
    }

    /// A value whose VR allows only the default repertoire; high bytes come out as Latin-1.
    fn ascii(&self, tag: Tag) -> Option<String> {
        let text: String = self.values.get(&tag)?.iter().map(|b| char::from(*b)).collect();
        let text = text.trim_matches(['\0', ' ']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The first number of a US (or UL) value.
    fn number(&self, tag: Tag) -> Option<u32> {
        let value = self.values.get(&tag)?;
        if let Ok(four) = <[u8; 4]>::try_from(value.as_slice())
            && matches!(tag, Tag::ROWS | Tag::COLUMNS)
        {
            return Some(if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) });
        }
        let two = *value.first_chunk::<2>()?;
        Some(u32::from(if self.big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) }))
    }

    fn times(&self) -> ExamTimeTexts {
        ExamTimeTexts {
            acquisition_date_time: self.ascii(Tag::ACQUISITION_DATE_TIME),
            content_date: self.ascii(Tag::CONTENT_DATE),
            content_time: self.ascii(Tag::CONTENT_TIME),
            acquisition_date: self.ascii(Tag::ACQUISITION_DATE),
            acquisition_time: self.ascii(Tag::ACQUISITION_TIME),
            series_date: self.ascii(Tag::SERIES_DATE),
            series_time: self.ascii(Tag::SERIES_TIME),
            study_date: self.ascii(Tag::STUDY_DATE),
            study_time: self.ascii(Tag::STUDY_TIME),
            timezone_offset: self.ascii(Tag::TIMEZONE_OFFSET),
        }
    }
}

/// The texts of one data set in its character set, and whether any was not in it.
#[derive(Debug)]
struct Texts<'a> {
    values: &'a BTreeMap<Tag, Vec<u8>>,
    charset: Charset,
    repaired: Cell<bool>,
    unreadable: Cell<bool>,
}

impl Texts<'_> {
    fn decode(&self, tag: Tag, field: Field) -> Option<Decoded> {
        let decoded = self.charset.decode(self.values.get(&tag)?, field);
        self.repaired.set(self.repaired.get() | decoded.repaired);
        self.unreadable.set(self.unreadable.get() | decoded.unreadable);
        (!decoded.text.is_empty()).then_some(decoded)
    }
}

fn has_leading_zero(facts: &DicomFacts) -> bool {
    let uids = [
        facts.sop_instance_uid.as_str(),
        facts.study_uid.as_str(),
        facts.series_uid.as_str(),
        facts.sop_class.as_str(),
    ];
    uids.iter().flat_map(|uid| uid.split('.')).any(|part| part.len() > 1 && part.starts_with('0'))
}

/// Parses a UID; the reason quotes neither value nor patient.
fn parsed<T: FromStr<Err = IdError>>(tag: Tag, text: &str) -> Result<T, AdmitError> {
    text.parse().map_err(|error| {
        let reason = match error {
            IdError::Empty { .. } => "empty".to_owned(),
            IdError::TooLong { len, max, .. } => format!("{len} characters, at most {max} are lawful"),
            IdError::Character { found: '\\', .. } => "several values where one is lawful".to_owned(),
            IdError::Character { found, at, .. } => {
                format!("the unlawful character {found:?} at position {at}")
            }
            IdError::EmptyComponent { .. } => "an empty component".to_owned(),
            other => other.to_string(),
        };
        AdmitError::from(Refusal::new(Code::RefusedUid, tag.to_string(), reason))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_tags_are_sorted_for_the_search() {
        assert!(WANTED.is_sorted());
    }
}
