//! Attempts over time, in virtual time, at a gateway that never answers.

use super::ports::{Answering, LetterFate, PortError};
use super::*;
use async_trait::async_trait;
use rand::SeedableRng as _;
use relay_core::clock::ManualClock;
use relay_core::codes::Refusal;
use relay_core::ids::{LetterId, NoteId, ObjectHash, StudyUid};
use relay_core::letter::{LetterHead, Note, NoteKind};
use relay_core::study::Manifest;
use std::sync::Mutex;

/// Something or nothing waits.
struct Waiting {
    changes: watch::Sender<u64>,
    note: Mutex<Option<Note>>,
}

impl Waiting {
    fn arrive(&self) {
        *self.note.lock().unwrap() = Some(Note {
            id: NoteId::parse("n-1").unwrap(),
            kind: NoteKind::ReportOpened,
            body: Vec::new(),
            signature: Vec::new(),
            certificate: Vec::new(),
        });
        self.changes.send_modify(|n| *n += 1);
    }
}

#[async_trait]
impl Outbox for Waiting {
    async fn pending_studies(&self, _: usize) -> Result<Vec<Manifest>, PortError> {
        Ok(Vec::new())
    }
    async fn greeted(&self, _: &Answering) -> Result<(), PortError> {
        Ok(())
    }
    async fn line_measured(&self, _: u64) -> Result<(), PortError> {
        Ok(())
    }
    async fn missing(&self, _: &StudyUid, _: &[ObjectHash]) -> Result<(), PortError> {
        Ok(())
    }
    async fn wanted(&self, _: &StudyUid, _: &[ObjectHash]) -> Result<Vec<ObjectHash>, PortError> {
        Ok(Vec::new())
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
    async fn open_coded(&self, _: &StudyUid, _: &ObjectHash) -> Result<tokio::fs::File, PortError> {
        unreachable!("nothing is ever sent")
    }
    async fn receipted(&self, _: &StudyUid, _: u64, _: &[ObjectHash], _: UtcMs) -> Result<(), PortError> {
        Ok(())
    }
    async fn refused(
        &self,
        _: &StudyUid,
        _: Option<&ObjectHash>,
        _: u64,
        _: &Refusal,
    ) -> Result<(), PortError> {
        Ok(())
    }
    async fn progress(&self, _: &StudyUid, _: u64) {}
    async fn pending_notes(&self, _: usize) -> Result<Vec<Note>, PortError> {
        Ok(self.note.lock().unwrap().iter().cloned().collect())
    }
    async fn note_receipted(&self, _: &NoteId, _: UtcMs) -> Result<(), PortError> {
        Ok(())
    }
    async fn note_refused(&self, _: &NoteId, _: &Refusal) -> Result<(), PortError> {
        Ok(())
    }
}

struct NoLetters;

#[async_trait]
impl Inbox for NoLetters {
    async fn has(&self, _: &LetterId, _: &ObjectHash) -> Result<Option<UtcMs>, PortError> {
        Ok(None)
    }
    async fn revocations(&self, _: Vec<u8>) -> Result<bool, Refusal> {
        Ok(false)
    }
    async fn accept(&self, _: &LetterHead, _: Vec<u8>, _: UtcMs) -> Result<LetterFate, PortError> {
        unreachable!("no letter comes")
    }
}

/// Milliseconds at which a packet reaches a gateway that is silent, when something begins to wait at `work_at`.
async fn knocks(work_at: u64, until: u64) -> Vec<u64> {
    let dir = tempfile::tempdir().unwrap();
    let mut pki = relay_certs::testing::TestCounty::new(dir.path(), 1, UtcMs(1_790_000_000_000));
    let device = crate::trust::Device::of(pki.agent("shilipu")).unwrap();
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let config = CourierConfig {
        trust: device.link_trust(),
        gateways: vec![Gateway { name: "g".into(), address, server_name: "localhost".into() }],
        software: "test".into(),
        transport: TransportSettings::default(),
    };
    let waiting = Arc::new(Waiting { changes: watch::Sender::new(0), note: Mutex::new(None) });
    let (outbox, stop) = (Arc::clone(&waiting) as Arc<dyn Outbox>, CancellationToken::new());
    let (state, _link) = watch::channel(initial_state());
    let rng = Box::new(rand::rngs::StdRng::seed_from_u64(1));
    let clock = Arc::new(ManualClock::at(UtcMs(1_790_000_000_000)));
    let begun = Instant::now();
    let task = tokio::spawn(run(config, outbox, Arc::new(NoLetters), clock, rng, state, stop.clone()));
    let (mut heard, mut packet) = (Vec::new(), [0; 2048]);
    let end = begun + Duration::from_millis(until);
    let work = tokio::time::sleep_until(begun + Duration::from_millis(work_at));
    tokio::pin!(work);
    let mut worked = false;
    loop {
        tokio::select! {
            biased;
            got = silent.recv_from(&mut packet) => {
                got.unwrap();
                heard.push(u64::try_from(begun.elapsed().as_millis()).unwrap());
            }
            () = &mut work, if !worked => {
                worked = true;
                waiting.arrive();
            }
            () = tokio::time::sleep_until(end) => break,
        }
    }
    stop.cancel();
    task.await.unwrap().unwrap();
    heard
}

#[tokio::test(start_paused = true)]
async fn when_work_arrives_in_the_middle_of_an_idle_attempt_the_gateway_is_tried_at_once_and_every_second() {
    for work_at in [300, 1_300, 2_700, 4_200, 6_000, 9_500] {
        let heard = knocks(work_at, 30_000).await;
        let mut last = work_at;
        for at in heard.into_iter().filter(|at| *at >= work_at).chain([30_000]) {
            assert!(at - last <= 1_100, "silent from {last} to {at} ms; work came at {work_at} ms");
            last = at;
        }
    }
}
