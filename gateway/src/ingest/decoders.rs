//! Turns at restoring films: a decoder holds some strips of rows and a core, so that few work at once however many clinics send.

use relay_core::study::{Encoding, ManifestObject};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Films restored at once, over all clinics: each takes up to 20 MB, and the gateway's bound is 128 MB.
const AT_ONCE: usize = 2;
/// Films of more bytes than this, of which one is restored at a time: the other turn is for what waits behind it.
const LARGE_BYTES: u64 = 64 << 20;

/// The turns of one gateway.
#[derive(Debug)]
pub(super) struct Decoders {
    films: Semaphore,
    large: Semaphore,
}

impl Default for Decoders {
    fn default() -> Self {
        Self { films: Semaphore::new(AT_ONCE), large: Semaphore::new(1) }
    }
}

/// Held while a film is restored.
#[derive(Debug)]
pub(super) struct Turn<'a>(#[expect(dead_code, reason = "held, not read")] [Option<SemaphorePermit<'a>>; 2]);

impl Decoders {
    /// Waits for a turn, when the object is a film. Who has one ends by itself.
    pub(super) async fn turn(&self, object: &ManifestObject) -> Turn<'_> {
        if object.coded.encoding != Encoding::Film {
            return Turn([None, None]);
        }
        let large = match object.length > LARGE_BYTES {
            true => self.large.acquire().await.ok(),
            false => None,
        };
        Turn([large, self.films.acquire().await.ok()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use relay_core::ids::ObjectHash;
    use relay_core::study::{CodedForm, ObjectKind};

    fn object(encoding: Encoding, length: u64) -> ManifestObject {
        let hash = ObjectHash::of(b"film");
        let coded = CodedForm { encoding, length, hash };
        ManifestObject { hash, length, kind: ObjectKind::Dicom, instance: None, series: None, coded }
    }

    #[test]
    fn two_films_are_restored_at_once_one_of_them_large_and_nothing_else_waits() {
        let decoders = Decoders::default();
        let turn = |encoding, length| decoders.turn(&object(encoding, length)).now_or_never();
        let giant = turn(Encoding::Film, 500_000_000).unwrap();
        assert!(turn(Encoding::Film, 500_000_000).is_none());
        let film = turn(Encoding::Film, 15_000_000).unwrap();
        assert!(turn(Encoding::Film, 15_000_000).is_none());
        assert!(turn(Encoding::Zstd, 500_000_000).is_some());
        drop(giant);
        assert!(turn(Encoding::Film, 500_000_000).is_some());
        drop(film);
    }
}
