//! Whose study it is, held against what its files say. The row `person` is what the lists show and paper prints; the bytes of
//! the files are proven. Where a person has corrected the identity, his correction counts instead.

use super::proof::{facts_of, identity};
use crate::ingest;
use crate::queue::patient_of;
use crate::store::{Columns, StoreError};
use relay_core::codes::{Code, Refusal};
use relay_core::durable::BlobStore;
use relay_core::ids::{ObjectHash, StudyUid};
use relay_core::study::StudyContext;
use sqlx::SqliteConnection;
use viewer_api::desk::PatientFacts;

/// Files whose header is asked: all views of a skeletal survey.
const MAX_FILES: i64 = 24;
/// Fields that identify, in the order of [`identity`].
const FIELDS: [&str; 5] = ["name", "sex", "birth_date", "local_id", "national_id"];

/// What the rows say of the patient of a study.
#[derive(Debug, Clone)]
pub struct Told {
    uid: StudyUid,
    person: PatientFacts,
    /// What the last correction says; `Some(None)` = the row says that there was one, and there is none.
    corrected: Option<Option<PatientFacts>>,
    context: StudyContext,
    /// The DICOM files, the first one first, and whether that was the first object of all.
    files: Vec<ObjectHash>,
    first_tells: bool,
}

impl Told {
    /// Reads the rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(tx: &mut SqliteConnection, study_id: i64) -> Result<Self, StoreError> {
        let key = study_id.to_string();
        let row = sqlx::query(
            "SELECT s.uid, p.*, (SELECT c.after_json FROM person_correction c WHERE c.study_id = s.id
               ORDER BY c.id DESC LIMIT 1) AS after_json
             FROM study s JOIN person p ON p.study_id = s.id WHERE s.id = $1",
        )
        .bind(study_id)
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database("read the patient of a study"))?;
        let c = Columns::of(&row, "person", &key);
        let corrected = match c.get::<Option<String>>("after_json")? {
            Some(_) => Some(Some(facts_of(&c.json("after_json")?))),
            None => c.time_or_none("corrected_at")?.map(|_| None),
        };
        let (uid, person, context) =
            (Columns::of(&row, "study", &key).parsed("uid")?, patient_of(c)?, c.json("context")?);
        let rows = sqlx::query("SELECT hash, kind FROM object WHERE study_id = $1 ORDER BY id LIMIT $2")
            .bind(study_id)
            .bind(MAX_FILES)
            .fetch_all(tx)
            .await
            .map_err(StoreError::database("read a study's objects"))?;
        let (mut files, mut first_tells) = (Vec::new(), false);
        for (number, row) in rows.iter().enumerate() {
            let c = Columns::of(row, "object", &key);
            if c.get::<String>("kind")? == "dicom" {
                first_tells |= number == 0;
                files.push(c.hash("hash")?);
            }
        }
        Ok(Self { uid, person, corrected, context, files, first_tells })
    }

    /// The field in which the row differs from what was received, if it does. A file that cannot be read says nothing: it is
    /// named as damaged elsewhere. Blocks: reads the files' headers.
    #[must_use]
    pub fn difference(&self, blobs: &BlobStore) -> Option<&'static str> {
        let stored = identity(&self.person);
        match &self.corrected {
            Some(None) => return Some("corrected_at"),
            Some(Some(written)) => {
                let pairs = stored.into_iter().zip(identity(written));
                return FIELDS.into_iter().zip(pairs).find(|(_, (a, b))| a != b).map(|(field, _)| field);
            }
            None => {}
        }
        let read = |hash: &ObjectHash| ingest::person_of(&blobs.path_of(hash), &self.uid);
        let headers: Vec<PatientFacts> = self.files.iter().map(read).collect::<Option<_>>()?;
        let given = given(&self.context);
        for (number, field) in FIELDS.into_iter().enumerate() {
            let of = |facts: &PatientFacts| identity(facts)[number].to_owned();
            let value = stored[number];
            let first = headers.first().filter(|_| self.first_tells).map(of).unwrap_or_default();
            // The first file replaces what the clinic gave; whoever speaks next fills a gap.
            let told: Vec<String> = if first.is_empty() {
                headers
                    .iter()
                    .chain(std::iter::once(&given))
                    .map(of)
                    .filter(|text| !text.is_empty())
                    .collect()
            } else {
                vec![first]
            };
            if !told.is_empty() && !told.iter().any(|text| text == value) {
                return Some(field);
            }
        }
        None
    }

    /// Refuses to print a patient who is not the one of the files.
    ///
    /// # Errors
    /// `DAMAGED` naming the field.
    pub(super) fn require(&self, blobs: &BlobStore) -> Result<(), Refusal> {
        let Some(field) = self.difference(blobs) else { return Ok(()) };
        tracing::error!(study = %self.uid, field, "the patient of a study is not the one of its files");
        let reason = "the stored patient is not the one that the files name, and nobody corrected it; nothing was signed";
        Err(Refusal::new(Code::Damaged, format!("person.{field}"), reason))
    }
}

/// What the clinic gave.
fn given(context: &StudyContext) -> PatientFacts {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let local_id = text(&context.patient_id);
    PatientFacts {
        name: text(&context.patient_name),
        sex: text(&context.patient_sex),
        birth_date: text(&context.patient_birth_date),
        national_id: if ingest::is_national_id(&local_id) { local_id.clone() } else { String::new() },
        local_id,
        ..PatientFacts::default()
    }
}
