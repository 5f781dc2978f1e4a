//! Identity correction: an event by a named person with a reason. Original bytes stay; a signed report goes to 待更正.

use super::void::Withdrawal;
use crate::queue::{self, StoredItem, attention};
use crate::store::{Batch, Columns, Scope, Store, StoreError, event, one_row};
use relay_core::clock::UtcMs;
use relay_core::codes::{Code, Refusal};
use sqlx::SqliteConnection;
use viewer_api::desk::{PatientFacts, Reader};

/// Characters of a reason.
const MAX_REASON_CHARS: usize = 500;

fn facts_json(p: &PatientFacts) -> serde_json::Value {
    serde_json::json!({
        "name": p.name, "sex": p.sex, "birth_date": p.birth_date, "age": p.age,
        "local_id": p.local_id, "national_id": p.national_id,
    })
}

fn check(patient: &PatientFacts, reason: &str) -> Result<(), StoreError> {
    let refuse = |field: &str, why: &str| Err(StoreError::refuse(Code::FieldInvalid, field, why));
    if patient.name.trim().is_empty() || patient.name.chars().count() > 64 {
        return refuse("name", "1 to 64 characters are needed");
    }
    if !["M", "F", "O", ""].contains(&patient.sex.as_str()) {
        return refuse("sex", "M, F, O or empty");
    }
    let date = &patient.birth_date;
    if !(date.is_empty() || date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit())) {
        return refuse("birth_date", "YYYYMMDD or empty");
    }
    if reason.trim().is_empty() || reason.chars().count() > MAX_REASON_CHARS {
        return refuse("reason", "1 to 500 characters are needed");
    }
    Ok(())
}

/// Corrects the effective identity of a study. Versions that are signed are withdrawn (作废) at the clinic in the same
/// transaction, and the author is asked for a corrected one.
///
/// # Errors
/// `FIELD_INVALID`, `NOT_FOUND`, `STATE_CONFLICT` when a version was signed meanwhile; storage refusals.
pub async fn correct_identity(
    store: &Store,
    scope: Scope,
    reader: &Reader,
    item: i64,
    patient: PatientFacts,
    reason: &str,
    now: UtcMs,
) -> Result<(), Refusal> {
    check(&patient, reason)?;
    let withdrawal = Withdrawal::of_item(store, &scope, item, reader, reason, now).await?;
    let (reader, reason) = (reader.clone(), reason.to_owned());
    let done = store.write(move |tx| {
        Box::pin(async move {
            let stored = queue::load(tx, &scope, item).await?;
            record(tx, &stored, &reader, &patient, &reason, now).await?;
            settle_patients(tx, &stored).await?;
            let withdrawn = withdrawal.apply(tx, &stored, &reader, now).await?;
            if withdrawn {
                let mut batch = Batch::on(tx);
                attention::ask(&mut batch, stored.id, attention::IDENTITY_CORRECTED, now);
                batch.run().await?;
            }
            let facts = serde_json::json!({ "signed_before": withdrawn });
            let kind = "study.identity_corrected";
            event::append(tx, stored.event(reader.id.as_str(), kind, stored.study_key(), facts, now)).await?;
            Ok(())
        })
    });
    Ok(done.await?)
}

/// A named person has said whose films these are: none of them is in doubt any more.
async fn settle_patients(tx: &mut SqliteConnection, stored: &StoredItem) -> Result<(), StoreError> {
    sqlx::query("UPDATE object SET other_patient = 0 WHERE study_id = $1")
        .bind(stored.study_id)
        .execute(tx)
        .await
        .map(|_| ())
        .map_err(StoreError::database("settle whose films they are"))
}

/// Keeps what stood there before, then puts the corrected facts in its place.
async fn record(
    tx: &mut SqliteConnection,
    stored: &StoredItem,
    reader: &Reader,
    patient: &PatientFacts,
    reason: &str,
    now: UtcMs,
) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT * FROM person WHERE study_id = $1")
        .bind(stored.study_id)
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database("read the patient"))?;
    let key = stored.study_id.to_string();
    let before = queue::patient_of(Columns::of(&row, "person", &key))?;
    sqlx::query(
        "INSERT INTO person_correction (study_id, before_json, after_json, reason, by_person, at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(stored.study_id)
    .bind(facts_json(&before).to_string())
    .bind(facts_json(patient).to_string())
    .bind(reason)
    .bind(reader.id.as_str())
    .bind(now.0)
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("record an identity correction"))?;
    let done = sqlx::query(
        "UPDATE person SET name = $2, sex = $3, birth_date = $4, age = $5, local_id = $6, national_id = $7,
           name_repaired = 0, corrected_at = $8, corrected_by = $9 WHERE study_id = $1",
    )
    .bind(stored.study_id)
    .bind(&patient.name)
    .bind(&patient.sex)
    .bind(&patient.birth_date)
    .bind(&patient.age)
    .bind(&patient.local_id)
    .bind(&patient.national_id)
    .bind(now.0)
    .bind(reader.id.as_str())
    .execute(tx)
    .await
    .map_err(StoreError::database("correct the patient"))?;
    one_row(&done, "person", stored.study_id)
}
