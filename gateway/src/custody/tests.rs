use super::*;
use crate::ingest::samples::{Film, Lab, NOW, STUDY, clinic, manifest, overwrite, plain, policy};
use crate::returns::NoteJudge;
use relay_core::letter::NoteBody;
use relay_core::study::Class;
use std::sync::Arc;

struct Nobody;

impl NoteJudge for Nobody {
    fn judge(&self, _: &Note, _: &[u8], _: &ClinicId) -> Result<NoteBody, Refusal> {
        unreachable!("no note comes")
    }
}

fn county(lab: &Lab) -> County {
    let returns = Returns::new(lab.store.clone(), Arc::new(Nobody), policy());
    County::new(lab.store.clone(), lab.ingest.clone(), returns)
}

#[tokio::test]
async fn an_object_that_the_scrub_finds_rotten_is_asked_for_taken_again_and_whole() {
    let lab = Lab::new().await;
    let county = county(&lab);
    let bytes = Film::default().bytes();
    let film = manifest(Class::Routine, vec![plain(&bytes)]);
    lab.deliver("a", &film, &[&bytes]).await;
    let hash = ObjectHash::of(&bytes);
    assert_eq!(county.damaged(&clinic("a"), 10).await.unwrap(), []);
    overwrite(lab.store.blobs().path_of(&hash), b"rotten");
    for recorded in crate::background::scrub::unproved(&lab.store, UtcMs(i64::MAX), 10).await.unwrap() {
        let found = crate::background::scrub::prove(&lab.store, &recorded);
        crate::background::scrub::record(&lab.store, recorded.hash, found, NOW).await.unwrap();
    }
    let place = (StudyUid::parse(STUDY).unwrap(), hash);
    assert_eq!(county.damaged(&clinic("a"), 10).await.unwrap(), [place]);
    assert_eq!(county.damaged(&clinic("b"), 10).await.unwrap(), [], "it is not another clinic's");
    let states = lab.offer("a", &film).await.unwrap();
    assert!(matches!(states[..], [ObjectState::Missing(_)]), "{states:?}");
    lab.deliver("a", &film, &[&bytes]).await;
    assert_eq!(county.damaged(&clinic("a"), 10).await.unwrap(), []);
    assert!(lab.store.blobs().verify(&hash).is_ok());
}

#[tokio::test]
async fn equal_bytes_for_two_studies_have_a_receipt_each() {
    let lab = Lab::new().await;
    let bytes = Film::default().bytes();
    let (first, second) = (manifest(Class::Routine, vec![plain(&bytes)]), "1.2.999");
    lab.offer("a", &first).await.unwrap();
    let other = Manifest { study: StudyUid::parse(second).unwrap(), ..first.clone() };
    lab.offer("a", &other).await.unwrap();
    let object = plain(&bytes);
    let mut one = lab.ingest.open_writer(&clinic("a"), &first.study, &object, 0).await.unwrap();
    let busy = lab.ingest.open_writer(&clinic("a"), &other.study, &object, 0).await.err().unwrap();
    assert_eq!(busy.code, relay_core::codes::Code::Busy);
    one.write(Bytes::from(bytes.clone())).await.unwrap();
    assert!(one.finish(NOW).await.unwrap().is_some());
    // The file names the first study: for the second it is refused, not receipted on the other's word.
    let refused = lab.send("a", &other.study, &object, &bytes, 0..bytes.len()).await;
    assert!(refused.is_err(), "{refused:?}");
}
