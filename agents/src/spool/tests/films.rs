//! Films under the film coder: chosen, kept over restarts, made again, given up where the county cannot restore them.

use super::*;
use relay_core::link::frame::FilmSpeeds;
use std::io::Read as _;

/// What the county would restore from what is offered to it.
pub(super) async fn travelled(spool: &Spool, admitted: &Admitted) -> Vec<u8> {
    let manifest = spool.manifest(&admitted.study).await.unwrap();
    let object = manifest.objects.iter().find(|o| o.hash == admitted.hash).unwrap();
    let mut file = spool.open_coded(&admitted.study, &admitted.hash).await.unwrap().into_std().await;
    let mut coded = Vec::new();
    file.read_to_end(&mut coded).unwrap();
    assert_eq!(coded.len() as u64, object.coded.length);
    match object.coded.encoding {
        Encoding::Identity => coded,
        Encoding::Zstd => zstd::decode_all(&coded[..]).unwrap(),
        Encoding::Film => relay_film::decode_file(&coded, object.length).unwrap(),
    }
}

/// A film with grain, which only the film coder packs well.
fn grainy(number: u32) -> Vec<u8> {
    let mut file = testing::film("1.2.3", "1.2.3.1", &format!("1.2.3.1.{number}"), 256);
    let pixels = file.len() - 256 * 256 * 2;
    let (pairs, _) = file[pixels..].as_chunks_mut::<2>();
    let mut state = 1_u32;
    for (at, pair) in (0_u32..).zip(pairs) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *pair = u16::try_from(1_000 + at % 256 + at / 256 + (state >> 27)).unwrap().to_le_bytes();
    }
    file
}

async fn form(spool: &Spool, of: &Admitted) -> (u64, relay_core::study::CodedForm) {
    let manifest = spool.manifest(&of.study).await.unwrap();
    (manifest.generation, manifest.objects.iter().find(|o| o.hash == of.hash).unwrap().coded.clone())
}

#[tokio::test]
async fn a_film_keeps_its_form_over_restarts_and_a_lost_copy_is_made_again_the_same_way() {
    let bench = Bench::new();
    let bytes = grainy(1);
    let spool = bench.open().await;
    // A line on which small films, too, get the strong coder.
    spool.line_measured(100_000).await.unwrap();
    let one = put(&spool, &bytes, &origin(true)).await.unwrap();
    let (generation, first) = form(&spool, &one).await;
    assert_eq!(first.encoding, Encoding::Film);
    drop(spool);
    let spool = bench.open().await;
    // Now another coder would be chosen for a new film.
    spool.line_measured(30_000_000).await.unwrap();
    assert_eq!(form(&spool, &one).await, (generation, first.clone()));
    spool.blobs().remove(&first.hash).unwrap();
    assert!(travelled(&spool, &one).await == bytes);
    assert_eq!(form(&spool, &one).await, (generation, first.clone()), "nothing that was sent is sent again");
    assert!(spool.blobs().contains(&first.hash));
}

#[tokio::test]
async fn a_fast_line_gets_the_quick_coder_and_what_was_measured_outlives_a_restart() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.line_measured(100_000).await.unwrap();
    let slow = put(&spool, &grainy(1), &origin(true)).await.unwrap();
    // Faster than any strong coder, slower than the quick one of any machine.
    spool.line_measured(60_000_000).await.unwrap();
    drop(spool);
    let spool = bench.open().await;
    let fast = put(&spool, &grainy(2), &origin(true)).await.unwrap();
    let modes: Vec<(Vec<u8>, i64)> =
        sqlx::query_as("SELECT hash, coded_mode FROM object").fetch_all(&spool.0.reader).await.unwrap();
    let mode = |of: &Admitted| modes.iter().find(|(hash, _)| of.hash.0 == hash[..]).unwrap().1;
    assert!(mode(&slow) >= mode(&fast) && mode(&fast) <= 1, "{modes:?}");
}

#[tokio::test]
async fn a_film_that_the_county_cannot_restore_travels_as_it_is() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let bytes = grainy(1);
    let one = put(&spool, &bytes, &origin(true)).await.unwrap();
    let (generation, before) = form(&spool, &one).await;
    assert_eq!(before.encoding, Encoding::Film);
    let refusal = Refusal::new(Code::RefusedEncoding, "coded form", "coded film, map: damaged");
    spool.refused(&one.study, Some(&one.hash), generation, &refusal).await.unwrap();
    let (newer, after) = form(&spool, &one).await;
    assert_eq!((after.encoding, after.hash), (Encoding::Identity, one.hash));
    assert!(newer > generation && spool.pending_studies(10).await.unwrap().len() == 1);
    assert!(!spool.blobs().contains(&before.hash), "the coded form is of no further use");
    assert!(travelled(&spool, &one).await == bytes);
    drop(spool);
    assert_eq!(form(&bench.open().await, &one).await.1, after);
}

#[tokio::test]
async fn a_county_that_restores_no_films_is_offered_none() {
    let bench = Bench::new();
    let spool = bench.open().await;
    let bytes = grainy(1);
    let early = put(&spool, &bytes, &origin(true)).await.unwrap();
    assert_eq!(form(&spool, &early).await.1.encoding, Encoding::Film);
    let old = Answering { takes_film: false, ..county("old", true) };
    spool.greeted(&old).await.unwrap();
    // Left out of the list until it has another form; then the list is said to have changed.
    let mut changes = spool.subscribe();
    loop {
        let listed = spool.pending_studies(10).await.unwrap();
        assert!(listed.iter().flat_map(|m| &m.objects).all(|o| o.coded.encoding != Encoding::Film));
        if !listed.is_empty() {
            break;
        }
        changes.changed().await.unwrap();
    }
    assert_eq!(form(&spool, &early).await.1.encoding, Encoding::Zstd);
    assert!(travelled(&spool, &early).await == bytes);
    let late = put(&spool, &grainy(2), &origin(true)).await.unwrap();
    assert_eq!(form(&spool, &late).await.1.encoding, Encoding::Zstd);
    drop(spool);
    let spool = bench.open().await;
    let later = put(&spool, &grainy(3), &origin(true)).await.unwrap();
    assert_eq!(form(&spool, &later).await.1.encoding, Encoding::Zstd, "remembered");
    let speeds = Some(FilmSpeeds { quick: 300_000_000, strong: 20_000_000 });
    spool.greeted(&Answering { film_speeds: speeds, ..county("new", true) }).await.unwrap();
    let last = put(&spool, &grainy(4), &origin(true)).await.unwrap();
    assert_eq!(form(&spool, &last).await.1.encoding, Encoding::Film);
}

#[tokio::test]
async fn what_an_older_county_had_from_another_one_is_offered_without_films() {
    let bench = Bench::new();
    let spool = bench.open().await;
    spool.greeted(&county("one", true)).await.unwrap();
    let one = put(&spool, &grainy(1), &origin(true)).await.unwrap();
    let generation = form(&spool, &one).await.0;
    spool.receipted(&one.study, generation, &[one.hash], NOW).await.unwrap();
    spool.drop_delivered_coded_forms().await.unwrap();
    spool.greeted(&Answering { takes_film: false, ..county("two", true) }).await.unwrap();
    let mut changes = spool.subscribe();
    let listed = loop {
        let listed = spool.pending_studies(10).await.unwrap();
        if !listed.is_empty() {
            break listed;
        }
        changes.changed().await.unwrap();
    };
    assert_eq!(listed[0].objects[0].coded.encoding, Encoding::Identity);
}
