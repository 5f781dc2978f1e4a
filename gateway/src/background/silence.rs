//! Clinics that say nothing during their opening hours.

use crate::store::{Columns, NewEvent, Store, StoreError, event, one_row};
use relay_core::clock::{DAY_MS, MINUTE_MS, UtcMs};
use relay_core::ids::ClinicId;
use relay_core::sla::SlaPolicy;
use serde_json::json;
use sqlx::SqliteConnection;

/// Silence during opening hours after which a clinic is called silent.
const SILENT_MS: i64 = 15 * MINUTE_MS;
/// China Standard Time, when the hours name no offset.
const DEFAULT_OFFSET_MINUTES: i64 = 480;

/// Opening hours of a clinic, as in `clinic.opening_hours`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Hours {
    /// Minutes east of UTC.
    offset_minutes: Option<i64>,
    /// Monday first; for each day, from and to as `HH:MM`. Empty: the county's duty calendar.
    days: Vec<Vec<(String, String)>>,
}

fn minute(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes) = (hours.parse::<i64>().ok()?, minutes.parse::<i64>().ok()?);
    ((0..=24).contains(&hours) && (0..60).contains(&minutes)).then_some(hours * 60 + minutes)
}

/// Minutes east of UTC of any place on earth.
const OFFSETS: std::ops::RangeInclusive<i64> = -12 * 60..=14 * 60;

/// Judges opening hours before they are stored.
///
/// # Errors
/// Naming the field and what is wrong with it.
pub(crate) fn check_hours(text: &str) -> Result<(), String> {
    // A list would be taken for the fields in their order.
    if !text.trim_start().starts_with('{') {
        return Err("invalid: a JSON object is needed, such as {\"days\":[…]}".to_owned());
    }
    let hours: Hours = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if hours.offset_minutes.is_some_and(|offset| !OFFSETS.contains(&offset)) {
        return Err("offset_minutes: minutes east of UTC, -720 to 840".to_owned());
    }
    if !matches!(hours.days.len(), 0 | 7) {
        return Err(format!("days: {} days, seven are needed, Monday first", hours.days.len()));
    }
    for (day, spans) in hours.days.iter().enumerate() {
        for (from, to) in spans {
            match minute(from).zip(minute(to)) {
                Some((from, to)) if from < to && to <= 24 * 60 => {}
                _ => {
                    return Err(format!("days[{day}]: {from}–{to} is no span of times HH:MM within the day"));
                }
            }
        }
    }
    Ok(())
}

impl Hours {
    fn open(&self, policy: &SlaPolicy, at: UtcMs) -> bool {
        if self.days.len() != 7 {
            return policy.calendar.on_duty(at);
        }
        let local = at.0 + self.offset_minutes.unwrap_or(DEFAULT_OFFSET_MINUTES) * MINUTE_MS;
        // 1970-01-01 was a Thursday: day 3 of a week that begins on Monday.
        let weekday = (local.div_euclid(DAY_MS) + 3).rem_euclid(7);
        let now = local.rem_euclid(DAY_MS) / MINUTE_MS;
        let day = usize::try_from(weekday).ok().and_then(|d| self.days.get(d));
        day.is_some_and(|spans| {
            spans.iter().any(|(from, to)| {
                minute(from).zip(minute(to)).is_some_and(|(from, to)| (from..to).contains(&now))
            })
        })
    }
}

/// Marks clinics as silent, or no longer silent. The mark is taken back when the clinic is heard (`County::seen`).
///
/// # Errors
/// [`StoreError`].
pub(super) async fn watch(store: &Store, policy: &SlaPolicy, now: UtcMs) -> Result<(), StoreError> {
    let silent = {
        let mut tx = store.read().await?;
        newly_silent(&mut tx, policy, now).await?
    };
    for (clinic, since) in silent {
        tracing::warn!(%clinic, since = %since.to_rfc3339(), "a clinic is silent");
        let name = clinic.to_string();
        let marked = store.write(move |tx| Box::pin(async move { mark(tx, &clinic, since, now).await }));
        if let Err(error) = marked.await {
            super::failed("silence", &name, &error);
        }
    }
    Ok(())
}

async fn newly_silent(
    tx: &mut SqliteConnection,
    policy: &SlaPolicy,
    now: UtcMs,
) -> Result<Vec<(ClinicId, UtcMs)>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, heard_at, added_at, opening_hours FROM clinic
         WHERE online = 0 AND silent_since IS NULL AND disabled_at IS NULL AND coalesce(heard_at, added_at) < $1",
    )
    .bind(now.plus_ms(-SILENT_MS).0)
    .fetch_all(tx)
    .await
    .map_err(StoreError::database("find silent clinics"))?;
    let mut silent = Vec::new();
    for row in &rows {
        match read(row) {
            // Open now, and open all the time that it was silent long enough.
            Ok((id, since, hours)) => {
                if hours.open(policy, now) && hours.open(policy, now.plus_ms(-SILENT_MS)) {
                    silent.push((id, since));
                }
            }
            Err(error) => super::failed("silence", "a clinic", &error),
        }
    }
    Ok(silent)
}

/// Hours that cannot be read count as the county's duty calendar: such a clinic is watched, too.
fn read(row: &sqlx::sqlite::SqliteRow) -> Result<(ClinicId, UtcMs, Hours), StoreError> {
    let id: ClinicId = Columns::of(row, "clinic", "?").parsed("id")?;
    let c = Columns::of(row, "clinic", id.as_str());
    let since = c.time_or_none("heard_at")?.unwrap_or(c.time("added_at")?);
    let hours = c.json("opening_hours").unwrap_or_else(|error| {
        super::failed("silence", id.as_str(), &error);
        Hours::default()
    });
    Ok((id, since, hours))
}

async fn mark(
    tx: &mut SqliteConnection,
    clinic: &ClinicId,
    since: UtcMs,
    now: UtcMs,
) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE clinic SET silent_since = $2 WHERE id = $1")
        .bind(clinic.as_str())
        .bind(since.0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("mark a silent clinic"))?;
    one_row(&done, "clinic", clinic)?;
    let new = NewEvent {
        at: now,
        actor: "county",
        kind: "clinic.silent",
        subject: clinic.to_string(),
        clinic: Some(clinic),
        study_id: None,
        work_item: None,
        class: None,
        body: json!({ "since": since }),
    };
    event::append(tx, new).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::samples::{Lab, NOW, policy};

    fn hours(json: &str) -> Hours {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn opening_hours_are_local_and_weekly() {
        let policy = policy();
        // NOW is a Tuesday, 09:00 in China.
        let days = r#"{"days":[[],[["08:00","12:00"],["14:00","17:30"]],[],[],[],[],[]]}"#;
        let open = hours(days);
        assert!(open.open(&policy, NOW));
        assert!(!open.open(&policy, NOW.plus_ms(4 * 60 * MINUTE_MS)));
        assert!(open.open(&policy, NOW.plus_ms(5 * 60 * MINUTE_MS)));
        assert!(!open.open(&policy, NOW.plus_ms(DAY_MS)));
    }

    #[test]
    fn opening_hours_are_judged_before_they_are_stored() {
        assert_eq!(check_hours("{}"), Ok(()));
        assert_eq!(
            check_hours(r#"{"offset_minutes":480,"days":[[["08:00","24:00"]],[],[],[],[],[],[]]}"#),
            Ok(())
        );
        for (bad, told) in [
            ("[]", "invalid"),
            (r#"{"days":[[["08:00","12:00"]]]}"#, "seven"),
            (r#"{"days":[[["12:00","08:00"]],[],[],[],[],[],[]]}"#, "days[0]"),
            (r#"{"days":[[],[["8","12:00"]],[],[],[],[],[]]}"#, "days[1]"),
            (r#"{"offset_minutes":9000}"#, "offset_minutes"),
            (r#"{"zone":"Asia/Shanghai"}"#, "zone"),
        ] {
            let reason = check_hours(bad).unwrap_err();
            assert!(reason.contains(told), "{bad}: {reason}");
        }
    }

    #[tokio::test]
    async fn hours_that_cannot_be_read_hide_no_clinic() {
        let lab = Lab::new().await;
        lab.execute(
            "INSERT INTO clinic (id, name, added_at, opening_hours) VALUES
             ('broken', 'A', 0, '{\"days\":7}'), ('whole', 'B', 0, '{}')",
        )
        .await;
        watch(&lab.store, &policy(), NOW).await.unwrap();
        assert_eq!(lab.number("SELECT count(*) FROM clinic WHERE silent_since IS NOT NULL").await, 2);
    }

    #[tokio::test]
    async fn a_clinic_is_called_silent_once_and_only_when_open() {
        let lab = Lab::new().await;
        lab.execute(
            "INSERT INTO clinic (id, name, added_at, opening_hours) VALUES
             ('open', 'A', 0, '{\"days\":[[],[[\"08:00\",\"12:00\"]],[],[],[],[],[]]}'),
             ('shut', 'B', 0, '{\"days\":[[],[],[],[],[],[],[]]}')",
        )
        .await;
        for _ in 0..2 {
            watch(&lab.store, &policy(), NOW).await.unwrap();
        }
        assert_eq!(
            lab.text("SELECT group_concat(id) FROM clinic WHERE silent_since IS NOT NULL").await,
            "open"
        );
        assert_eq!(lab.events().await, ["clinic.silent"]);
    }
}
