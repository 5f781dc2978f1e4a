//! One damaged row is named and takes nothing else away: not the list, not the next case, not the ladder of another patient's
//! critical notice, not the films beside a report.

use super::custody::{execute, number};
use super::*;

const DAMAGES: [(&str, &str); 5] = [
    ("UPDATE study SET class = 'bogus' WHERE uid = '1.7.1'", "class"),
    ("UPDATE study SET objects_here = -1 WHERE uid = '1.7.1'", "objects_here"),
    ("UPDATE study SET kind = 'film' WHERE uid = '1.7.1'", "kind"),
    ("UPDATE work_item SET author = '../x' WHERE id = 1", "author"),
    ("UPDATE work_item SET state = 'bogus' WHERE id = 1", "state"),
];

#[tokio::test]
async fn a_damaged_row_is_left_out_of_the_list_and_named_and_every_other_stands() {
    let filter = WorkFilter { limit: 10, ..WorkFilter::default() };
    for (sql, column) in DAMAGES {
        let room = room().await;
        let bad = film(&room.store, "1.7.1", CLINIC, Kind::Xray).await;
        let good = film(&room.store, "1.7.2", CLINIC, Kind::Xray).await;
        assert_eq!(room.desk.worklist(&liu(), &filter, NOW).await.unwrap().damaged, 0);
        execute(&room, sql).await;
        let list = room.desk.worklist(&liu(), &filter, NOW).await.unwrap();
        let ids: Vec<i64> = list.rows.iter().map(|row| row.id).collect();
        assert_eq!(ids, [good], "{column}");
        // What the query itself does not find is named all the same.
        let named = crate::queue::damaged(&mut room.store.read().await.unwrap()).await.unwrap();
        let named: Vec<String> = named.iter().map(ToString::to_string).collect();
        assert!(named.len() == 1 && named[0].contains(&format!("column {column}")), "{column}: {named:?}");
        // *Next case* passes it over.
        let (next, _) = room.desk.claim_next(&liu(), None, NOW).await.unwrap().unwrap();
        assert_eq!((next, bad), (good, 1), "{column}");
    }
}

#[tokio::test]
async fn the_list_counts_what_it_leaves_out() {
    let room = room().await;
    for number in 1..=4 {
        film(&room.store, &format!("1.7.{number}"), CLINIC, Kind::Xray).await;
    }
    execute(&room, "UPDATE study SET class = 'bogus' WHERE uid = '1.7.1'").await;
    let filter = |limit| WorkFilter { limit, ..WorkFilter::default() };
    let list = room.desk.worklist(&liu(), &filter(10), NOW).await.unwrap();
    assert_eq!((list.rows.len(), list.total, list.damaged), (3, 4, 1));
    let list = room.desk.worklist(&liu(), &filter(2), NOW).await.unwrap();
    assert_eq!((list.rows.len(), list.total), (2, 4));
}

#[tokio::test]
async fn a_version_whose_kind_cannot_be_read_takes_neither_the_films_nor_the_list_away() {
    let room = room().await;
    let item = film(&room.store, "1.7.1", CLINIC, Kind::Xray).await;
    signed_by_liu(&room, item).await;
    execute(&room, "UPDATE report_version SET kind = 'bogus'").await;
    let filter = WorkFilter { limit: 10, ..WorkFilter::default() };
    let list = room.desk.worklist(&liu(), &filter, NOW).await.unwrap();
    assert_eq!((list.rows.len(), list.damaged, list.rows[0].report.clone()), (1, 1, None));
    let view = room.desk.study(&liu(), item, NOW).await.unwrap();
    let version = &view.versions[0];
    // What was signed says what the row does not.
    assert_eq!(version.differs.as_deref(), Some("report_version.kind"));
    assert_eq!((version.kind, version.text.clone()), (ReportKind::Preliminary, words()));
}

#[tokio::test]
async fn a_damaged_row_does_not_stop_the_ladder_of_another_critical_notice() {
    let room = room().await;
    for uid in ["1.7.1", "1.7.2"] {
        let item = film(&room.store, uid, CLINIC, Kind::Xray).await;
        let raise = RaiseCritical { code: "X-A01".into(), finding: "张力性气胸".into(), advice: None };
        room.desk.raise_critical(&liu(), item, raise, NOW).await.unwrap();
    }
    execute(&room, "UPDATE study SET class = 'bogus' WHERE uid = '1.7.1'").await;
    let policy = Arc::new(SlaPolicy::default());
    let taken = crate::background::climb(&room.store, &policy, NOW.plus_ms(6 * MINUTE_MS)).await.unwrap();
    assert_eq!((taken, number(&room, "SELECT escalated FROM critical WHERE id = 2").await), (1, 1));
}
