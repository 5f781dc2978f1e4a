//! What a county keeps, in memory. Honest about durability: what was not synced is lost in a crash, and nothing is
//! receipted before its one transaction.

use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use relay_core::ids::{ClinicId, LetterId, NoteId, ObjectHash, Sha256, StudyUid};
use relay_core::letter::{LetterHead, LetterKind, Note};
use relay_core::link::frame::{ObjectReceipt, ObjectState};
use relay_core::study::{Encoding, Manifest, ManifestObject};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Bytes after which a partial is synced: what may be sent twice after a crash.
pub const SYNC_STEP: u64 = 256 * 1024;

/// Which object of which study of which clinic.
pub type Place = (ClinicId, StudyUid, ObjectHash);

/// An object that is arriving.
#[derive(Debug, Clone, Default)]
struct Partial {
    bytes: Vec<u8>,
    synced: Vec<Range<u64>>,
    volatile: Vec<Range<u64>>,
}

/// A letter on its way to a clinic.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Envelope.
    pub head: LetterHead,
    /// Body.
    pub body: Vec<u8>,
    /// Receipt of the clinic.
    pub receipted: Option<UtcMs>,
    /// Refusal of the clinic.
    pub refused: Option<Refusal>,
}

/// The county's store.
#[derive(Debug, Clone, Default)]
pub struct County {
    /// Which store this is.
    pub store: String,
    /// Objects that were durable and are not any more.
    pub damaged: BTreeSet<Place>,
    /// Newest manifest by study.
    pub manifests: BTreeMap<(ClinicId, StudyUid), Manifest>,
    partials: BTreeMap<Place, Partial>,
    /// Durable objects: plaintext.
    pub objects: BTreeMap<Place, Vec<u8>>,
    /// How often each object was committed; more than once would be a duplicate.
    pub commits: BTreeMap<Place, u32>,
    /// Letters that did not get through, with why lately.
    pub delayed: BTreeMap<(ClinicId, LetterId), Refusal>,
    /// Refused objects.
    pub refused: BTreeMap<Place, Refusal>,
    /// Letters.
    pub letters: BTreeMap<(ClinicId, LetterId), Letter>,
    /// Notes, with how often each was recorded.
    pub notes: BTreeMap<(ClinicId, NoteId), Note>,
    /// When each object became durable, in the order of commits.
    pub order: Vec<Place>,
    /// Studies whose manifest is refused with this.
    pub refuse_studies: BTreeMap<StudyUid, Refusal>,
    /// While set, nothing can be stored.
    pub full: bool,
    /// Coded bytes taken, repeated ones included.
    pub bytes_taken: u64,
    /// Clinics on line, as told.
    pub online: BTreeSet<ClinicId>,
    /// Last clock offset told by each clinic.
    pub offsets: BTreeMap<ClinicId, i64>,
}

fn merge(ranges: &mut Vec<Range<u64>>, new: Range<u64>) {
    ranges.push(new);
    ranges.sort_by_key(|r| r.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for r in ranges.drain(..) {
        match merged.last_mut() {
            Some(last) if r.start <= last.end => last.end = last.end.max(r.end),
            _ => merged.push(r),
        }
    }
    *ranges = merged;
}

fn missing(have: &[Range<u64>], length: u64) -> Vec<Range<u64>> {
    let (mut from, mut gaps) = (0, Vec::new());
    for r in have {
        if from < r.start {
            gaps.push(from..r.start);
        }
        from = r.end;
    }
    if from < length {
        gaps.push(from..length);
    }
    gaps
}

impl County {
    /// Records a manifest and answers object by object.
    ///
    /// # Errors
    /// The refusal set for the study.
    pub fn offered(&mut self, clinic: &ClinicId, manifest: &Manifest) -> Result<Vec<ObjectState>, Refusal> {
        if let Some(refusal) = self.refuse_studies.get(&manifest.study) {
            return Err(refusal.clone());
        }
        let key = (clinic.clone(), manifest.study.clone());
        let newer = self.manifests.get(&key).is_none_or(|known| known.generation < manifest.generation);
        if newer {
            self.manifests.insert(key, manifest.clone());
        }
        Ok(manifest.objects.iter().map(|object| self.state(clinic, &manifest.study, object)).collect())
    }

    fn state(&self, clinic: &ClinicId, study: &StudyUid, object: &ManifestObject) -> ObjectState {
        let place = (clinic.clone(), study.clone(), object.hash);
        if self.objects.contains_key(&place) {
            return ObjectState::Stored;
        }
        if let Some(refusal) = self.refused.get(&place) {
            return ObjectState::Refused(refusal.clone());
        }
        let have = self.partials.get(&place).map_or(&[][..], |p| &p.synced);
        ObjectState::Missing(missing(have, object.coded.length))
    }

    /// Takes coded bytes at `offset`.
    ///
    /// # Errors
    /// [`Code::StorageFull`] while full.
    pub fn write(&mut self, place: &Place, offset: u64, bytes: &[u8]) -> Result<(), Refusal> {
        if self.full {
            return Err(Refusal::new(Code::StorageFull, "store", "the disk is full"));
        }
        self.bytes_taken += bytes.len() as u64;
        let partial = self.partials.entry(place.clone()).or_default();
        let (start, end) = (usize::try_from(offset).expect("small"), offset + bytes.len() as u64);
        let needed = start + bytes.len();
        if partial.bytes.len() < needed {
            partial.bytes.resize(needed, 0);
        }
        partial.bytes[start..needed].copy_from_slice(bytes);
        merge(&mut partial.volatile, offset..end);
        let unsynced: u64 = partial.volatile.iter().map(|r| r.end - r.start).sum();
        if unsynced >= SYNC_STEP {
            self.sync(place);
        }
        Ok(())
    }

    /// Syncs what a writer that goes away has taken.
    pub fn sync(&mut self, place: &Place) {
        if let Some(partial) = self.partials.get_mut(place) {
            for range in std::mem::take(&mut partial.volatile) {
                merge(&mut partial.synced, range);
            }
        }
    }

    /// The end of a range: when nothing is missing, checks and commits.
    ///
    /// # Errors
    /// The object's refusal.
    pub fn finish(
        &mut self,
        place: &Place,
        object: &ManifestObject,
        now: UtcMs,
    ) -> Result<Option<ObjectReceipt>, Refusal> {
        if let Some(plain) = self.objects.get(place) {
            return Ok(Some(ObjectReceipt { hash: object.hash, sha256: Sha256::of(plain), stored_at: now }));
        }
        if self.full {
            return Err(Refusal::new(Code::StorageFull, "store", "the disk is full"));
        }
        self.sync(place);
        let Some(partial) = self.partials.get(place) else { return Ok(None) };
        if !missing(&partial.synced, object.coded.length).is_empty() {
            return Ok(None);
        }
        let partial = self.partials.remove(place).unwrap_or_default();
        match restore(object, &partial.bytes) {
            Ok(plain) => {
                let receipt = ObjectReceipt { hash: object.hash, sha256: Sha256::of(&plain), stored_at: now };
                self.damaged.remove(place);
                self.objects.insert(place.clone(), plain);
                *self.commits.entry(place.clone()).or_default() += 1;
                self.order.push(place.clone());
                Ok(Some(receipt))
            }
            Err(refusal) => {
                self.refused.insert(place.clone(), refusal.clone());
                Err(refusal)
            }
        }
    }

    /// The disk has eaten an object, and the scrub has found that out.
    pub fn rot(&mut self, place: &Place) {
        if self.objects.remove(place).is_some() {
            self.commits.remove(place);
            self.damaged.insert(place.clone());
        }
    }

    /// A backup is put in this store's place: it is another one from now on.
    pub fn restore(&mut self, backup: Self, store: String) {
        *self = Self { store, online: BTreeSet::new(), full: false, ..backup };
    }

    /// Damaged objects of a clinic.
    #[must_use]
    pub fn damaged_of(&self, clinic: &ClinicId) -> Vec<(StudyUid, ObjectHash)> {
        self.damaged.iter().filter(|(of, ..)| of == clinic).map(|(_, s, o)| (s.clone(), *o)).collect()
    }

    /// Power is cut: what was not synced is gone.
    pub fn crash(&mut self) {
        for partial in self.partials.values_mut() {
            for range in partial.volatile.drain(..) {
                let synced = &partial.synced;
                for at in range.filter(|at| !synced.iter().any(|r| r.contains(at))) {
                    partial.bytes[usize::try_from(at).expect("small")] = 0xee;
                }
            }
        }
        self.online.clear();
    }

    /// Writes a letter for a clinic.
    pub fn write_letter(&mut self, clinic: &ClinicId, name: &str, kind: LetterKind, body: &[u8], at: UtcMs) {
        let head = LetterHead {
            id: LetterId::parse(name).expect("lawful letter id"),
            kind,
            study: StudyUid::parse("1.2.3").expect("lawful"),
            length: body.len() as u64,
            hash: ObjectHash::of(body),
            written_at: at,
        };
        let letter = Letter { head: head.clone(), body: body.to_vec(), receipted: None, refused: None };
        self.letters.insert((clinic.clone(), head.id), letter);
    }

    /// Letters without answer, critical notices first; at most `limit` of them and `limit` others.
    #[must_use]
    pub fn pending_letters(&self, clinic: &ClinicId, limit: usize) -> Vec<LetterHead> {
        let open = |l: &&Letter| l.receipted.is_none() && l.refused.is_none();
        let mut heads: Vec<LetterHead> = self
            .letters
            .iter()
            .filter(|((of, _), _)| of == clinic)
            .map(|(_, letter)| letter)
            .filter(open)
            .map(|letter| letter.head.clone())
            .collect();
        heads.sort_by_key(|h| (h.kind != LetterKind::CriticalNotice, h.written_at, h.id.clone()));
        let (mut critical, mut others): (Vec<_>, Vec<_>) =
            heads.into_iter().partition(|h| h.kind == LetterKind::CriticalNotice);
        critical.truncate(limit);
        others.truncate(limit);
        critical.append(&mut others);
        critical
    }
}

fn restore(object: &ManifestObject, coded: &[u8]) -> Result<Vec<u8>, Refusal> {
    let plain = match object.coded.encoding {
        Encoding::Identity => coded.to_vec(),
        Encoding::Zstd => zstd::decode_all(coded)
            .map_err(|e| Refusal::new(Code::RefusedEncoding, "coded", e.to_string()))?,
        Encoding::Film => relay_film::decode_file(coded, object.length)
            .map_err(|e| Refusal::new(Code::RefusedEncoding, "coded", e.to_string()))?,
    };
    if ObjectHash::of(&plain) != object.hash {
        return Err(Refusal::new(Code::RefusedDigest, "object", "the digest differs"));
    }
    Ok(plain)
}
