//! Identity correction: an event by a named person with a reason. Original bytes stay; a signed report goes to 待更正.

use crate::queue;
use crate::store::{Columns, NewEvent, Scope, StoreError, event, one_row};
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::PersonId;
use relay_core::work_item::State;
use sqlx::SqliteConnection;
use viewer_api::desk::PatientFacts;

/// Word of `work_item.attention` after a signed study's identity was corrected: 待更正.
pub(super) const ATTENTION_CORRECTED: &str = "identity_corrected";
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

/// Corrects the effective identity of a study.
///
/// # Errors
/// `FIELD_INVALID`, `NOT_FOUND`; [`StoreError`].
pub async fn correct_identity(
    tx: &mut SqliteConnection,
    scope: &Scope,
    item: i64,
    who: &PersonId,
    patient: &PatientFacts,
    reason: &str,
    now: UtcMs,
) -> Result<(), StoreError> {
    check(patient, reason)?;
    let stored = queue::load(tx, scope, item).await?;
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
    .bind(who.as_str())
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
    .bind(who.as_str())
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("correct the patient"))?;
    one_row(&done, "person", stored.study_id)?;
    let was_signed = matches!(stored.item.state, State::Signed | State::Audited | State::Closed);
    if was_signed {
        let done = sqlx::query(
            "UPDATE work_item SET attention = $2, attention_owner = author, attention_at = $3 WHERE id = $1",
        )
        .bind(stored.id)
        .bind(ATTENTION_CORRECTED)
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("ask for a corrected report"))?;
        one_row(&done, "work_item", stored.id)?;
    }
    let corrected = NewEvent {
        at: now,
        actor: who.as_str(),
        kind: "study.identity_corrected",
        subject: format!("{}/{}", stored.clinic, stored.study_uid),
        clinic: Some(&stored.clinic),
        study_id: Some(stored.study_id),
        work_item: Some(stored.id),
        class: Some(stored.class()),
        body: serde_json::json!({ "signed_before": was_signed }),
    };
    event::append(tx, corrected).await?;
    Ok(())
}
