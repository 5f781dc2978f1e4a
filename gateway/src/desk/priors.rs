//! Earlier studies of a patient. Hung by themselves only on an equal national id number, or on equal clinic and patient
//! id with equal name, sex and birth date; anything weaker is listed as 疑似同一人·请核对 and never hung.

use crate::queue::patient_of;
use crate::store::{Columns, Scope, StoreError};
use relay_core::ids::StudyKey;
use sqlx::SqliteConnection;
use viewer_api::desk::{PatientFacts, PriorStudy, WorkRow};

/// Candidates looked at of each kind, the newest: more would help nobody who reads.
const MAX_CANDIDATES: i64 = 50;

/// Certain and suspected priors, newest first.
pub(super) async fn find(
    tx: &mut SqliteConnection,
    scope: &Scope,
    study_id: i64,
    row: &WorkRow,
) -> Result<(Vec<PriorStudy>, Vec<PriorStudy>), StoreError> {
    let patient = &row.patient;
    // Each way of being the same person has an index and a limit of its own, so that a number which a console gives to
    // everybody neither costs more nor pushes anybody out.
    let found = sqlx::query(
        "WITH candidate (study_id) AS (
           SELECT * FROM (SELECT study_id FROM person WHERE $3 <> '' AND national_id <> '' AND national_id = $3
             ORDER BY study_id DESC LIMIT $9)
           UNION SELECT * FROM (SELECT study_id FROM person WHERE $6 <> '' AND $7 <> '' AND name = $6 AND birth_date = $7
             ORDER BY study_id DESC LIMIT $9)
           UNION SELECT * FROM (SELECT study_id FROM person WHERE $4 <> '' AND clinic = $5 AND local_id = $4
             ORDER BY study_id DESC LIMIT $9))
         SELECT s.clinic, s.uid, s.t0, s.kind, s.item, c.name AS clinic_name, p.name, p.sex, p.birth_date, p.age,
           p.local_id, p.national_id, p.name_repaired
         FROM candidate d JOIN person p ON p.study_id = d.study_id JOIN study s ON s.id = d.study_id
           JOIN clinic c ON c.id = s.clinic
         WHERE s.id <> $1 AND s.t0 <= $2 AND s.arrived_at IS NOT NULL
           AND ($8 IS NULL OR s.clinic IN (SELECT value FROM json_each($8)))
         ORDER BY s.t0 DESC",
    )
    .bind(study_id)
    .bind(row.t0.0)
    .bind(&patient.national_id)
    .bind(&patient.local_id)
    .bind(row.study.clinic.as_str())
    .bind(&patient.name)
    .bind(&patient.birth_date)
    .bind(scope.bind())
    .bind(MAX_CANDIDATES)
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("look for priors"))?;
    let (mut certain, mut suspected) = (Vec::new(), Vec::new());
    for candidate in &found {
        let key = study_id.to_string();
        let c = Columns::of(candidate, "person", &key);
        let prior = PriorStudy {
            study: StudyKey { clinic: c.parsed("clinic")?, uid: c.parsed("uid")? },
            t0: c.time("t0")?,
            kind: c.parsed("kind")?,
            clinic_name: c.get("clinic_name")?,
            item: c.get("item")?,
            patient: patient_of(c)?,
        };
        let same_clinic = prior.study.clinic == row.study.clinic;
        if is_same_person(patient, &prior.patient, same_clinic) {
            certain.push(prior);
        } else {
            suspected.push(prior);
        }
    }
    Ok((certain, suspected))
}

/// The strict rule.
fn is_same_person(a: &PatientFacts, b: &PatientFacts, same_clinic: bool) -> bool {
    if !a.national_id.is_empty() && a.national_id == b.national_id {
        return true;
    }
    let known = [&a.local_id, &a.name, &a.sex, &a.birth_date].iter().all(|text| !text.is_empty());
    let contradicts = !a.national_id.is_empty() && !b.national_id.is_empty();
    same_clinic
        && known
        && !contradicts
        && (&a.local_id, &a.name, &a.sex, &a.birth_date) == (&b.local_id, &b.name, &b.sex, &b.birth_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(local_id: &str, name: &str, sex: &str, birth: &str) -> PatientFacts {
        PatientFacts {
            local_id: local_id.into(),
            name: name.into(),
            sex: sex.into(),
            birth_date: birth.into(),
            ..PatientFacts::default()
        }
    }

    #[test]
    fn patient_0001_of_another_clinic_is_never_the_same_person() {
        let a = person("0001", "张伟", "M", "19650101");
        assert!(is_same_person(&a, &a.clone(), true));
        assert!(!is_same_person(&a, &a.clone(), false));
    }

    #[test]
    fn a_missing_birth_date_or_another_sex_is_too_weak() {
        let a = person("0001", "张伟", "M", "");
        assert!(!is_same_person(&a, &a.clone(), true));
        let (m, f) = (person("0001", "张伟", "M", "19650101"), person("0001", "张伟", "F", "19650101"));
        assert!(!is_same_person(&m, &f, true));
    }

    #[test]
    fn an_equal_national_id_is_enough_and_a_different_one_forbids() {
        let with =
            |id: &str| PatientFacts { national_id: id.into(), ..person("1", "张伟", "M", "19650101") };
        assert!(is_same_person(&with("11010119650101001X"), &with("11010119650101001X"), false));
        assert!(!is_same_person(&with("11010119650101001X"), &with("110101196501010028"), true));
    }
}
