use super::*;
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::durable::RealDisk;

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Arc::new(RealDisk)).await.unwrap();
    (dir, store)
}

fn event(kind: &'static str) -> NewEvent<'static> {
    NewEvent {
        at: UtcMs(1),
        actor: "county",
        kind,
        subject: "s".into(),
        clinic: None,
        study_id: None,
        work_item: None,
        class: None,
        body: serde_json::json!({}),
    }
}

async fn kinds(store: &Store) -> Vec<String> {
    let mut tx = store.read().await.unwrap();
    event::after_in(&mut tx, &Scope::County, 0, 100).await.unwrap().into_iter().map(|e| e.kind).collect()
}

#[tokio::test]
async fn a_write_is_there_after_its_answer_and_after_reopening() {
    let (dir, store) = store().await;
    let seq = store.write(|tx| Box::pin(async move { event::append(tx, event("a")).await })).await.unwrap();
    assert_eq!(seq, 1);
    store.close().await;
    let again = Store::open(dir.path(), Arc::new(RealDisk)).await.unwrap();
    assert_eq!(kinds(&again).await, ["a"]);
}

#[tokio::test]
async fn a_failed_command_is_rolled_back_and_its_neighbours_stay() {
    let (_dir, store) = store().await;
    let good = |kind| store.write(move |tx| Box::pin(async move { event::append(tx, event(kind)).await }));
    let bad = store.write(|tx| {
        Box::pin(async move {
            event::append(tx, event("bad")).await?;
            Err::<(), _>(StoreError::refuse(Code::StateConflict, "x", "no"))
        })
    });
    let panics = store.write(|tx| {
        Box::pin(async move {
            event::append(tx, event("worse")).await?;
            if tx_is_fine() {
                panic!("on purpose")
            }
            Ok(())
        })
    });
    let (one, refused, panicked, two) = tokio::join!(good("one"), bad, panics, good("two"));
    assert!(one.is_ok() && two.is_ok());
    assert!(matches!(refused, Err(StoreError::Refused(r)) if r.code == Code::StateConflict));
    assert!(matches!(panicked, Err(StoreError::Writer(_))));
    assert_eq!(kinds(&store).await, ["one", "two"]);
}

const fn tx_is_fine() -> bool {
    true
}

#[tokio::test]
async fn listeners_hear_committed_events_in_order() {
    let (_dir, store) = store().await;
    let mut live = store.live();
    for kind in ["a", "b"] {
        store.write(move |tx| Box::pin(async move { event::append(tx, event(kind)).await })).await.unwrap();
    }
    assert_eq!((live.recv().await.unwrap().kind, live.recv().await.unwrap().kind), ("a".into(), "b".into()));
}

#[tokio::test]
async fn a_reader_cannot_write_and_events_cannot_be_changed() {
    let (_dir, store) = store().await;
    store.write(|tx| Box::pin(async move { event::append(tx, event("a")).await })).await.unwrap();
    let mut reader = store.read().await.unwrap();
    assert!(event::append(&mut reader, event("b")).await.is_err());
    let changed = store
        .write(|tx| {
            Box::pin(async move {
                let done = sqlx::query("UPDATE event SET actor = 'x'").execute(tx).await;
                done.map(|_| ()).map_err(StoreError::database("change"))
            })
        })
        .await;
    assert!(format!("{:?}", changed.unwrap_err()).contains("append-only"));
}

#[tokio::test]
async fn a_value_that_does_not_fit_names_table_row_and_column() {
    let (_dir, store) = store().await;
    let mut reader = store.read().await.unwrap();
    let row = sqlx::query("SELECT x'00ff' AS hash").fetch_one(&mut *reader).await.unwrap();
    let error = Columns::of(&row, "location", "7").hash("hash").unwrap_err();
    assert_eq!(error.to_string(), "table location, row 7, column hash: 2 bytes are no digest");
}

#[tokio::test]
async fn many_writers_at_once_are_all_answered() {
    let (_dir, store) = store().await;
    let writes = (0..300).map(|_| {
        let store = store.clone();
        async move { store.write(|tx| Box::pin(async move { event::append(tx, event("n")).await })).await }
    });
    let mut seqs: Vec<i64> = futures::future::try_join_all(writes).await.unwrap();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=300).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_store_has_a_name_of_its_own_and_a_new_one_after_a_restore() {
    let ((_one, one), (_two, two)) = (store().await, store().await);
    let name_of = async |store: &Store| name(&mut store.read().await.unwrap()).await.unwrap();
    let first = name_of(&one).await;
    assert_ne!(first, name_of(&two).await);
    assert!(first.len() <= relay_core::link::limits::MAX_STORE_ID_CHARS);
    one.write(|tx| Box::pin(async move { begin_incarnation(tx, UtcMs(5)).await })).await.unwrap();
    assert_ne!(first, name_of(&one).await);
}

/// Counts events, waits for the others at the read, writes what it counted; refused when told so.
async fn joint(store: &Store, key: &str, kind: &'static str, refused: bool) -> Result<i64, StoreError> {
    let work = store.write_together(key.to_owned(), move |mut batch| {
        Box::pin(async move {
            batch.add("count", "SELECT count(*) AS n FROM event");
            let row = batch.only_row().await?;
            event::add(&mut batch, event(kind));
            batch.run().await?;
            if refused {
                return Err(StoreError::refuse(Code::RefusedManifest, "objects", "lies"));
            }
            Columns::of(&row, "event", "?").get("n")
        })
    });
    work.await
}

#[tokio::test]
async fn commands_side_by_side_keep_their_order_within_a_key_and_a_refused_one_touches_no_other() {
    let (_dir, store) = store().await;
    // While it runs, the others gather and become one group.
    let first = store.write(|tx| Box::pin(async move { event::append(tx, event("first")).await }));
    let (_, a1, b, a2, c) = tokio::join!(
        first,
        joint(&store, "a", "a1", false),
        joint(&store, "b", "b", true),
        joint(&store, "a", "a2", false),
        joint(&store, "c", "c", false),
    );
    assert!(matches!(&b, Err(StoreError::Refused(r)) if r.code == Code::RefusedManifest), "{b:?}");
    assert!(a1.unwrap() < a2.unwrap(), "the second of a key sees the first one's work");
    assert!(c.is_ok());
    let kinds = kinds(&store).await;
    let place = |kind: &str| kinds.iter().position(|k| k == kind);
    assert_eq!((place("b"), kinds.len()), (None, 4), "{kinds:?}");
    assert!(place("a1") < place("a2"), "{kinds:?}");
}

#[tokio::test]
async fn a_second_command_of_a_key_never_overtakes_the_first_that_failed() {
    let (_dir, store) = store().await;
    let first = store.write(|tx| Box::pin(async move { event::append(tx, event("first")).await }));
    let (_, refused, next) =
        tokio::join!(first, joint(&store, "a", "a1", true), joint(&store, "a", "a2", false));
    assert!(refused.is_err() && next.is_ok());
    assert_eq!(kinds(&store).await, ["first", "a2"]);
}
