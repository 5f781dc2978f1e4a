//! What the watcher says of deadlines: in time, once, and booked to whoever had the study.

use super::*;
use crate::sla::watch;
use relay_core::letter::StudyStatus;

async fn green_ecg(room: &Room) -> i64 {
    let item = film(&room.store, "1.5.1", CLINIC, Kind::Ecg).await;
    let now = NOW;
    room.store
        .write(move |tx| {
            Box::pin(async move {
                sqlx::query("UPDATE study SET class = 'green'").execute(&mut *tx).await.unwrap();
                let (stored, at) = (crate::queue::load(tx, &crate::store::Scope::County, item).await?, now);
                let body = serde_json::json!({});
                let arrived = stored.event("agent", crate::sla::kinds::ARRIVED, String::new(), body, at);
                crate::store::event::append(tx, arrived).await?;
                crate::sla::refresh(tx, &SlaPolicy::default(), stored.study_id).await
            })
        })
        .await
        .unwrap();
    item
}

/// Lets the watcher look at `seconds` after T0; gives what it says, as `type stage with`.
async fn look(room: &Room, seconds: i64) -> Vec<String> {
    let now = NOW.plus_ms(seconds * 1_000);
    let before: i64 = last_event(room).await;
    let mut read = room.store.read().await.unwrap();
    let due = watch::due(&mut read, now).await.unwrap();
    drop(read);
    for one in due {
        let policy = SlaPolicy::default();
        room.store
            .write(move |tx| Box::pin(async move { watch::say(tx, &policy, one, now).await }))
            .await
            .unwrap();
    }
    let said = "SELECT type || ' ' || (body ->> 'stage') || ' ' || (body ->> 'with') FROM event WHERE seq > $1 ORDER BY seq";
    sqlx::query_scalar(said).bind(before).fetch_all(&mut *room.store.read().await.unwrap()).await.unwrap()
}

async fn last_event(room: &Room) -> i64 {
    let mut tx = room.store.read().await.unwrap();
    sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM event").fetch_one(&mut *tx).await.unwrap()
}

/// The newest status letter of the study, as the clinic reads it.
async fn status(room: &Room, seconds: i64) -> StudyStatus {
    crate::returns::write_statuses(&room.store, 16, NOW.plus_ms(seconds * 1_000)).await.unwrap();
    let mut tx = room.store.read().await.unwrap();
    let body: Vec<u8> =
        sqlx::query_scalar("SELECT body FROM letter WHERE kind = 'study_status' AND superseded_at IS NULL")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_green_ecg_at_night_is_warned_called_in_and_late_booked_to_the_queue_each_once() {
    let room = room().await;
    let item = green_ecg(&room).await;
    assert!(look(&room, 120).await.is_empty());
    assert_eq!(look(&room, 130).await, ["sla.warned claimed queue"], "70 % of three minutes");
    assert_eq!(look(&room, 200).await, ["sla.breached claimed queue"]);
    assert_eq!(look(&room, 400).await, ["sla.warned reported queue"]);
    assert_eq!(look(&room, 420).await, ["sla.warned received queue"], "minute seven");
    assert!(!status(&room, 421).await.unattended);
    let eight = look(&room, 480).await;
    assert_eq!(eight, ["sla.unattended claimed queue"]);
    assert!(status(&room, 481).await.unattended, "the clinic is told to telephone");
    assert!(look(&room, 480).await.is_empty(), "said once");
    let ten = look(&room, 601).await;
    assert_eq!(ten, ["sla.breached reported queue", "sla.breached received queue"]);
    room.desk.claim(&liu(), item, NOW.plus_ms(610_000)).await.unwrap();
    let told = status(&room, 611).await;
    assert_eq!((told.unattended, told.state.as_str()), (false, "claimed"));
}

#[tokio::test]
async fn a_watcher_that_slept_says_afterwards_what_it_would_have_said() {
    let room = room().await;
    let item = green_ecg(&room).await;
    room.desk.claim(&liu(), item, NOW.plus_ms(660_000)).await.unwrap();
    let said = look(&room, 661).await;
    assert!(said.contains(&"sla.breached claimed queue".to_owned()), "{said:?}");
    assert!(said.contains(&"sla.breached received queue".to_owned()), "{said:?}");
    assert!(!said.iter().any(|s| s.contains("unattended")), "somebody has it by now: {said:?}");
}

#[tokio::test]
async fn a_film_that_went_back_to_the_clinic_is_nobodys_breach_at_the_county() {
    let room = room().await;
    let item = film(&room.store, "1.5.2", CLINIC, Kind::Xray).await;
    let lease = room.desk.claim(&liu(), item, NOW).await.unwrap();
    room.desk.request_retake(&liu(), item, lease.epoch, "position", "请重拍侧位", NOW).await.unwrap();
    assert!(look(&room, 24 * 3_600).await.is_empty());
    assert!(look(&room, 48 * 3_600).await.is_empty());
}

#[tokio::test]
async fn a_promise_that_moves_is_told_to_the_clinic_again() {
    let room = room().await;
    film(&room.store, "1.5.10", CLINIC, Kind::Xray).await;
    let before = status(&room, 0).await;
    let raised = room.store.write(|tx| {
        Box::pin(async move {
            sqlx::query("UPDATE study SET class = 'green'").execute(&mut *tx).await.unwrap();
            crate::sla::refresh(tx, &SlaPolicy::default(), 1).await
        })
    });
    raised.await.unwrap();
    let after = status(&room, 1).await;
    assert!(after.due_at < before.due_at && after.at > before.at, "{before:?} {after:?}");
    assert_eq!(after.state, before.state);
}

#[tokio::test]
async fn another_policy_moves_the_deadlines_of_open_work_at_the_next_start_and_the_same_one_does_not() {
    let room = room().await;
    film(&room.store, "1.5.11", CLINIC, Kind::Xray).await;
    let promise = async || -> i64 {
        let mut tx = room.store.read().await.unwrap();
        sqlx::query_scalar("SELECT promise_at FROM work_item").fetch_one(&mut *tx).await.unwrap()
    };
    let (first, policy) = (promise().await, SlaPolicy::default());
    crate::sla::refresh_open(&room.store, &policy).await.unwrap();
    assert_eq!(promise().await, first);
    // Duty begins at noon.
    let text = relay_core::sla::DEFAULT_POLICY.replace("[[480, 1080]]", "[[720, 1080]]");
    let later = SlaPolicy::from_toml(&text).unwrap();
    assert_ne!(text, relay_core::sla::DEFAULT_POLICY);
    crate::sla::refresh_open(&room.store, &later).await.unwrap();
    assert!(promise().await > first);
    super::custody::execute(&room, "UPDATE work_item SET promise_at = 7").await;
    crate::sla::refresh_open(&room.store, &later).await.unwrap();
    assert_eq!(promise().await, 7, "nothing is computed under the same policy");
}

/// Appends an event about an item.
async fn happened(room: &Room, item: i64, kind: &'static str, at: relay_core::clock::UtcMs) {
    let done = room.store.write(move |tx| {
        Box::pin(async move {
            let stored = crate::queue::load(tx, &crate::store::Scope::County, item).await?;
            let event = stored.event("x", kind, "x".into(), serde_json::json!({}), at);
            crate::store::event::append(tx, event).await.map(|_| ())
        })
    });
    done.await.unwrap();
}

#[tokio::test]
async fn a_study_that_lies_with_its_clinic_is_not_late_and_one_sent_back_too_late_is() {
    let monitor = Reader { clinics: vec![], ..reader("wang", &[Role::Monitor]) };
    for (sent_back, late) in [(30, 0), (70, 1)] {
        let room = room().await;
        let item = film(&room.store, "1.5.12", CLINIC, Kind::Xray).await;
        happened(&room, item, crate::sla::kinds::RETAKE_REQUESTED, NOW.plus_ms(sent_back * MINUTE_MS)).await;
        let figures = room.desk.throughput(&monitor, NOW.plus_ms(90 * MINUTE_MS)).await.unwrap();
        assert_eq!((figures.due, figures.backlog), (late, 1), "sent back after {sent_back} min");
    }
}

#[tokio::test]
async fn the_figures_begin_with_what_arrived_and_know_the_clinics_clock() {
    let monitor = Reader { clinics: vec![], ..reader("wang", &[Role::Monitor]) };
    let room = room().await;
    film(&room.store, "1.5.13", CLINIC, Kind::Xray).await;
    film(&room.store, "1.5.14", CLINIC, Kind::Xray).await;
    for sql in [
        // The clinic died before it had said that all is sent; its clock is an hour behind, the film took 20 s.
        "DELETE FROM work_item",
        "UPDATE study SET completeness = 'partial', first_object_at = arrived_at - 3620000, clock_offset_ms = 3600000",
        "UPDATE study SET class = 'bogus' WHERE uid = '1.5.14'",
    ] {
        super::custody::execute(&room, sql).await;
    }
    let figures = room.desk.throughput(&monitor, NOW.plus_ms(90 * MINUTE_MS)).await.unwrap();
    assert_eq!((figures.received, figures.due, figures.on_time, figures.backlog), (1, 1, 0, 1));
    let link = figures.stages.iter().find(|stage| stage.stage == "link").unwrap();
    assert_eq!((link.count, link.p90_ms), (1, Some(20_000)));
}
