//! What a clinic keeps, in memory: outbox and inbox.

use relay_core::clock::UtcMs;
use relay_core::codes::Refusal;
use relay_core::ids::{LetterId, NoteId, ObjectHash, StudyUid};
use relay_core::letter::{LetterHead, Note, NoteKind};
use relay_core::study::{
    Class, CodedForm, Completeness, Encoding, Kind, Manifest, ManifestObject, ObjectKind, StudyContext,
};
use std::collections::{BTreeMap, BTreeSet};

/// An object as the spool holds it.
#[derive(Debug, Clone)]
pub struct Held {
    /// Plaintext.
    pub plain: Vec<u8>,
    /// Coded form.
    pub coded: Vec<u8>,
}

/// A study in the outbox.
#[derive(Debug, Clone)]
pub struct OutStudy {
    /// What the clinic says of it.
    pub manifest: Manifest,
    /// Generation the county has recorded.
    pub receipted_generation: u64,
    /// Objects the county holds.
    pub receipted: BTreeSet<ObjectHash>,
    /// Objects the county refuses.
    pub refused_objects: BTreeMap<ObjectHash, Refusal>,
    /// The whole is refused.
    pub refused: Option<Refusal>,
    /// Highest progress told.
    pub progress: u64,
}

impl OutStudy {
    /// Something of it must still go.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        let open = |o: &ManifestObject| {
            !self.receipted.contains(&o.hash) && !self.refused_objects.contains_key(&o.hash)
        };
        self.refused.is_none()
            && (self.receipted_generation < self.manifest.generation
                || self.manifest.objects.iter().any(open))
    }
}

/// The clinic's store.
#[derive(Debug, Clone, Default)]
pub struct Clinic {
    /// Outgoing studies.
    pub studies: BTreeMap<StudyUid, OutStudy>,
    /// Bytes by object.
    pub held: BTreeMap<ObjectHash, Held>,
    /// Which store of the county answered last.
    pub county_store: Option<String>,
    /// Notes not receipted.
    pub notes: BTreeMap<NoteId, Note>,
    /// Notes that the county's store holds.
    pub sent_notes: BTreeMap<NoteId, Note>,
    /// Letters stored, with when.
    pub letters: BTreeMap<LetterId, (LetterHead, Vec<u8>, UtcMs)>,
    /// How often each letter was stored anew; more than once would be a duplicate.
    pub letter_commits: BTreeMap<LetterId, u32>,
    /// Letters that the inbox refuses.
    pub refuse_letters: BTreeMap<LetterId, Refusal>,
    /// The county's revocation list as it was told last.
    pub revocations: Option<Vec<u8>>,
    /// Changes of the outbox.
    pub version: u64,
}

/// A manifest entry for the bytes, as they are, by zstd or as a film.
#[must_use]
pub fn object_of(plain: &[u8], encoding: Encoding) -> (ManifestObject, Held) {
    let coded = match encoding {
        Encoding::Zstd => zstd::encode_all(plain, 1).expect("zstd in memory"),
        Encoding::Identity => plain.to_vec(),
        Encoding::Film => relay_film::encode_file(plain, Some(&layout_of(plain)), relay_film::Mode::Quick),
    };
    let object = ManifestObject {
        hash: ObjectHash::of(plain),
        length: plain.len() as u64,
        kind: ObjectKind::Dicom,
        instance: None,
        series: None,
        coded: CodedForm { encoding, length: coded.len() as u64, hash: ObjectHash::of(&coded) },
    };
    (object, Held { plain: plain.to_vec(), coded })
}

/// Columns of the films of this model.
const COLUMNS: u32 = 256;

fn layout_of(plain: &[u8]) -> relay_film::Layout {
    let length = plain.len() as u64;
    let rows = u32::try_from(length).expect("small").div_ceil(COLUMNS * 2);
    let grey = relay_film::Layout { samples: 1, bits_allocated: 16, ..relay_film::Layout::default() };
    relay_film::Layout { rows, columns: COLUMNS, length, ..grey }
}

/// Samples of a slope under grain: three quarters of it are noise to zstd, half of it to the film coder.
#[must_use]
pub fn grain(seed: u64, length: usize) -> Vec<u8> {
    let grain = noise(seed, length.div_ceil(2));
    let grey = |(at, noise): (usize, &u8)| {
        let columns = COLUMNS as usize;
        let value = 1_000 + at % columns + at / columns + usize::from(noise & 31);
        u16::try_from(value & 0xFFFF).expect("16 bits").to_le_bytes()
    };
    let mut bytes: Vec<u8> = grain.iter().enumerate().flat_map(grey).collect();
    bytes.truncate(length);
    bytes
}

/// Bytes that zstd cannot shrink, the same for the same seed.
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

impl Clinic {
    /// A new study, or a new generation of a known one with more objects.
    pub fn add_study(
        &mut self,
        uid: &str,
        class: Class,
        plain: &[(Vec<u8>, Encoding)],
        at: UtcMs,
    ) -> StudyUid {
        let study = StudyUid::parse(uid).expect("lawful UID");
        let entry = self.studies.entry(study.clone()).or_insert_with(|| OutStudy {
            manifest: Manifest {
                study: study.clone(),
                generation: 0,
                class,
                kind: Kind::Xray,
                completeness: Completeness::Complete,
                first_object_at: at,
                exam_completed_at: None,
                time_suspect: false,
                source: "TEST".into(),
                context: StudyContext::default(),
                objects: Vec::new(),
            },
            receipted_generation: 0,
            receipted: BTreeSet::new(),
            refused_objects: BTreeMap::new(),
            refused: None,
            progress: 0,
        });
        entry.manifest.generation += 1;
        entry.manifest.class = class.min(entry.manifest.class);
        for (plain, encoding) in plain {
            let (object, held) = object_of(plain, *encoding);
            if !entry.manifest.objects.iter().any(|o| o.hash == object.hash) {
                self.held.insert(object.hash, held);
                entry.manifest.objects.push(object);
            }
        }
        self.version += 1;
        study
    }

    /// A raise of class: a new generation.
    pub fn raise(&mut self, study: &StudyUid, class: Class) {
        if let Some(out) = self.studies.get_mut(study) {
            out.manifest.class = out.manifest.class.raised_by(class);
            out.manifest.generation += 1;
            self.version += 1;
        }
    }

    /// A note.
    pub fn add_note(&mut self, name: &str) {
        let id = NoteId::parse(name).expect("lawful note id");
        let note = Note {
            id: id.clone(),
            kind: NoteKind::ReportOpened,
            body: name.as_bytes().to_vec(),
            signature: vec![1],
            certificate: Vec::new(),
        };
        self.notes.insert(id, note);
        self.version += 1;
    }

    /// What waits, most urgent first.
    #[must_use]
    pub fn pending_studies(&self, limit: usize) -> Vec<Manifest> {
        let mut pending: Vec<Manifest> =
            self.studies.values().filter(|s| s.is_pending()).map(|s| s.manifest.clone()).collect();
        pending.sort_by_key(|m| (m.class, m.first_object_at, m.study.clone()));
        pending.truncate(limit);
        pending
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.notes.is_empty() && !self.studies.values().any(OutStudy::is_pending)
    }

    /// A gateway has answered: another store than before holds nothing until it says so.
    pub fn greeted(&mut self, store: &str) {
        if self.county_store.as_deref() == Some(store) {
            return;
        }
        self.county_store = Some(store.to_owned());
        for out in self.studies.values_mut() {
            out.receipted.clear();
            out.receipted_generation = 0;
        }
        self.notes.append(&mut self.sent_notes);
        self.version += 1;
    }

    /// The county lacks objects, or has lost them.
    pub fn unreceipted(&mut self, study: &StudyUid, objects: &[ObjectHash]) {
        if let Some(out) = self.studies.get_mut(study) {
            let before = out.receipted.len();
            out.receipted.retain(|hash| !objects.contains(hash));
            self.version += u64::from(out.receipted.len() != before);
        }
    }

    /// The county holds the note.
    pub fn note_receipted(&mut self, id: &NoteId) {
        if let Some((id, note)) = self.notes.remove_entry(id) {
            self.sent_notes.insert(id, note);
        }
        self.version += 1;
    }

    /// The county's receipt.
    pub fn receipted(&mut self, study: &StudyUid, generation: u64, objects: &[ObjectHash]) {
        if let Some(out) = self.studies.get_mut(study) {
            out.receipted_generation = out.receipted_generation.max(generation);
            out.receipted.extend(objects.iter().copied());
            self.version += 1;
        }
    }

    /// The county's refusal.
    pub fn refused(&mut self, study: &StudyUid, object: Option<&ObjectHash>, refusal: &Refusal) {
        if let Some(out) = self.studies.get_mut(study) {
            match object {
                Some(object) => {
                    out.refused_objects.insert(*object, refusal.clone());
                }
                None => out.refused = Some(refusal.clone()),
            }
            self.version += 1;
        }
    }

    /// The letter's body has come: when it was first stored, or why not.
    ///
    /// # Errors
    /// The refusal set for the letter.
    pub fn accept_letter(&mut self, head: &LetterHead, body: Vec<u8>, now: UtcMs) -> Result<UtcMs, Refusal> {
        if let Some(refusal) = self.refuse_letters.get(&head.id) {
            return Err(refusal.clone());
        }
        if let Some((_, _, at)) = self.letters.get(&head.id) {
            return Ok(*at);
        }
        *self.letter_commits.entry(head.id.clone()).or_default() += 1;
        self.letters.insert(head.id.clone(), (head.clone(), body, now));
        Ok(now)
    }
}
