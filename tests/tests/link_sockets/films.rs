//! Films between ends of different age.

use crate::lab::*;
use relay_agent::config::QuietSeconds;
use relay_agent::courier::ports::{LinkState, LinkTrust};
use relay_agent::spool::{Origin, Spool, SpoolLimits, SpoolOptions};
use relay_core::clock::{Clock as _, SystemClock};
use relay_core::durable::RealDisk;
use relay_core::ids::StudyUid;
use relay_core::study::{Class, Encoding};
use relay_tests::phantom;
use relay_tests::sim::clinic::Clinic;
use relay_tests::sim::county::County;
use relay_tests::sim::ports::ClinicPorts;
use std::sync::Arc;

async fn spool(dir: &std::path::Path) -> Spool {
    let options = SpoolOptions {
        dir: dir.join("spool"),
        clinic: clinic_id(),
        limits: SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 },
        quiet: QuietSeconds::default(),
    };
    Spool::open(options, Arc::new(RealDisk), Arc::new(SystemClock)).await.unwrap()
}

/// Puts a computed film into custody; gives its bytes.
async fn put_film(spool: &Spool, seed: u64) -> (StudyUid, Vec<u8>) {
    let request = phantom::study(seed, 1, 0.1, SystemClock.now()).films.remove(0);
    let bytes = phantom::film(&request).unwrap().file;
    let origin = Origin {
        source: "DR".into(),
        name: None,
        class: Class::Routine,
        kind: None,
        quiet: false,
        open: false,
        announced: None,
    };
    let admitted = spool.intake(bytes.clone()).admit(&origin).await.unwrap();
    (admitted.study, bytes)
}

/// Encoding and coded length in the manifest that the county holds.
fn form_at(county: &County, uid: &StudyUid) -> (Encoding, u64) {
    let coded = &county.manifests[&(clinic_id(), uid.clone())].objects[0].coded;
    (coded.encoding, coded.length)
}

#[tokio::test]
async fn a_county_without_the_film_coder_gets_another_form_and_one_with_it_the_film() {
    let mut lab = Lab::new(17);
    let dir = tempfile::tempdir().unwrap();
    let (spool, inbox) = (spool(dir.path()).await, ClinicPorts::new(Clinic::default()));
    // Coded as a film before the county was ever asked.
    let (early, early_bytes) = put_film(&spool, 1).await;
    assert_eq!(spool.manifest(&early).await.unwrap().objects[0].coded.encoding, Encoding::Film);
    let old = lab.start_gateway_with(0, |config| config.capabilities.clear());
    let tls = LinkTrust::fixed(lab.agent_tls());
    let agent = start_over(tls.clone(), &[old.address], Arc::new(spool.clone()), &inbox);
    lab.county.until(SOON, "the film arrives", |c| county_has(c, &early, &early_bytes)).await;
    let (late, late_bytes) = put_film(&spool, 2).await;
    lab.county.until(SOON, "another one arrives", |c| county_has(c, &late, &late_bytes)).await;
    let by_zstd = lab.county.with(|c| {
        let taken = c.bytes_taken;
        assert_eq!((form_at(c, &early).0, form_at(c, &late).0), (Encoding::Zstd, Encoding::Zstd));
        assert_eq!(taken, form_at(c, &early).1 + form_at(c, &late).1, "no film was sent in vain");
        form_at(c, &late).1
    });
    let port = old.shut_down().await;
    let new = lab.start_gateway(port);
    let mut state = agent.state.clone();
    until(&mut state, "up again", |s| matches!(s, LinkState::Up { .. })).await;
    let (last, last_bytes) = put_film(&spool, 3).await;
    lab.county.until(SOON, "the last one arrives", |c| county_has(c, &last, &last_bytes)).await;
    lab.county.with(|c| {
        let (encoding, length) = form_at(c, &last);
        assert!(encoding == Encoding::Film && length < by_zstd * 9 / 10, "{encoding:?} {length} {by_zstd}");
    });
    stop(agent).await;
    new.shut_down().await;
}
