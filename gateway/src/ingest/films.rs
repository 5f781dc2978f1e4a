//! Films in their coded form, from ranges to receipts.

use super::samples::{Film, Lab, NOW, clinic, film_coded, manifest, only, plain};
use super::{ObjectState, SYNC_BYTES};
use relay_core::codes::Code;
use relay_core::ids::Sha256;
use relay_core::study::{Class, Manifest};
use relay_film::Mode;

#[tokio::test]
async fn a_film_of_either_coder_is_restored_and_nothing_is_left_behind() {
    for mode in [Mode::Quick, Mode::Strong] {
        // Small ones are restored in memory, others by way of the disk.
        for side in [128, 1_024] {
            let lab = Lab::new().await;
            let bytes = Film { side, ..Film::default() }.bytes();
            let (object, coded) = film_coded(&bytes, mode);
            let offer = manifest(Class::Routine, vec![object.clone()]);
            lab.offer("a", &offer).await.unwrap();
            let receipt =
                lab.send("a", &offer.study, &object, &coded, 0..coded.len()).await.unwrap().unwrap();
            assert_eq!(receipt.sha256, Sha256::of(&bytes), "{mode:?} {side}");
            assert!(std::fs::read(lab.store.blobs().path_of(&receipt.hash)).unwrap() == bytes);
            assert_eq!(std::fs::read_dir(lab.dir.path().join("store/partial")).unwrap().count(), 0);
        }
    }
}

#[tokio::test]
async fn a_film_goes_on_in_its_coded_form_after_a_restart_in_the_middle() {
    let lab = Lab::new().await;
    let bytes = Film { side: 2_560, ..Film::default() }.bytes();
    // What the others make of this film is shorter than the step between two syncs.
    let (object, coded) = film_coded(&bytes, Mode::Stored);
    let (sent, total) = (coded.len() * 9 / 10, coded.len() as u64);
    assert!(sent as u64 > SYNC_BYTES, "{total} coded bytes");
    let offer = manifest(Class::Routine, vec![object.clone()]);
    lab.offer("a", &offer).await.unwrap();
    assert_eq!(lab.send("a", &offer.study, &object, &coded, 0..sent).await.unwrap(), None);
    let lab = lab.restarted().await;
    let states = lab.offer("a", &offer).await.unwrap();
    let [ObjectState::Missing(ranges)] = &states[..] else { panic!("{states:?}") };
    let [rest] = &ranges[..] else { panic!("{ranges:?}") };
    assert!(rest.start >= SYNC_BYTES && rest.end == total, "{rest:?}");
    let from = usize::try_from(rest.start).unwrap();
    let receipt = lab.send("a", &offer.study, &object, &coded, from..coded.len()).await.unwrap().unwrap();
    assert_eq!(receipt.sha256, Sha256::of(&bytes));
    assert_eq!(lab.number("SELECT count(*) FROM partial").await, 0);
}

#[tokio::test]
async fn a_damaged_film_is_refused_kept_as_it_came_and_arrives_plain_under_a_newer_manifest() {
    for side in [128, 1_024] {
        let lab = Lab::new().await;
        let bytes = Film { side, ..Film::default() }.bytes();
        let (object, mut coded) = film_coded(&bytes, Mode::Strong);
        let at = coded.len() - 20;
        coded[at] ^= 0x10;
        let offer = manifest(Class::Routine, vec![object.clone()]);
        lab.offer("a", &offer).await.unwrap();
        let refused = lab.send("a", &offer.study, &object, &coded, 0..coded.len()).await.unwrap_err();
        assert!(matches!(refused.code, Code::RefusedEncoding | Code::RefusedDigest), "{refused}");
        if refused.code == Code::RefusedEncoding {
            let kept = lab.text("SELECT quarantine FROM refused").await;
            assert!(
                std::fs::read(lab.dir.path().join(kept)).unwrap() == coded,
                "as it came, not half restored"
            );
        }
        assert_eq!(lab.text("SELECT lower(hex(hash)) FROM refused").await, object.hash.to_hex());
        assert_eq!(lab.offer("a", &offer).await.unwrap(), [ObjectState::Refused(refused)]);

        let newer = Manifest { generation: 2, objects: vec![plain(&bytes)], ..offer };
        let missing = ObjectState::Missing(only(0..bytes.len() as u64));
        assert_eq!(lab.offer("a", &newer).await.unwrap(), [missing]);
        let sent = lab.send("a", &newer.study, &plain(&bytes), &bytes, 0..bytes.len()).await;
        assert_eq!(sent.unwrap().unwrap().sha256, Sha256::of(&bytes));
    }
}

#[tokio::test]
async fn a_form_that_claims_to_be_a_film_and_is_none_is_refused() {
    let lab = Lab::new().await;
    let bytes = Film { side: 512, ..Film::default() }.bytes();
    let (mut object, _) = film_coded(&bytes, Mode::Quick);
    object.coded.length = bytes.len() as u64;
    let offer = manifest(Class::Routine, vec![object.clone()]);
    lab.offer("a", &offer).await.unwrap();
    let refused = lab.send("a", &offer.study, &object, &bytes, 0..bytes.len()).await.unwrap_err();
    assert_eq!((refused.code, refused.field.as_str()), (Code::RefusedEncoding, "coded form"));
    assert!(refused.reason.contains("magic"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn films_of_sixteen_clinics_at_once_all_arrive() {
    let lab = Lab::new().await;
    let sending = (0..16_u32).map(|number| {
        let lab = &lab;
        async move {
            let bytes = Film { sop: number + 1, side: 600, ..Film::default() }.bytes();
            let (object, coded) = film_coded(&bytes, Mode::Strong);
            let (from, offer) = (format!("c{number}"), manifest(Class::Routine, vec![object.clone()]));
            lab.ingest.offered(&clinic(&from), &offer, NOW).await.unwrap();
            let sent = lab.send(&from, &offer.study, &object, &coded, 0..coded.len()).await;
            assert_eq!(sent.unwrap().unwrap().sha256, Sha256::of(&bytes));
        }
    });
    futures::future::join_all(sending).await;
    assert_eq!(lab.number("SELECT count(*) FROM object").await, 16);
}
