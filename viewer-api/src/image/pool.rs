//! Turns for decoders: bounded in number and in memory.

use crate::limits::{DECODE_BUDGET_MIB, DECODE_QUEUE_DEADLINE, MAX_DECODERS};
use crate::problem::Problem;
use relay_core::codes::Code;
use relay_core::formats::dicom::{self, PixelForm};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Bytes in a MiB.
const MIB: u64 = 1024 * 1024;
/// A decoder holds the file, its samples and the codec's copy: so many times the file, for a film that is not compressed.
const COST_FACTOR: u64 = 3;

/// Stack of a decoder, in bytes: the DICOM library recurses into sequences, and `header` lets it go 64 levels of about
/// 200 kB. Only what is touched takes memory.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Runs `work` on a thread with room for nested data sets; its panic is a refusal. Blocks.
///
/// # Errors
/// `UNDECODABLE_IMAGE` when it panics, `BUSY` when there is no thread to be had, else what `work` says.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T, Problem> + Send) -> Result<T, Problem> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("decoder".into()).stack_size(STACK_BYTES);
        let running = thread
            .spawn_scoped(scope, work)
            .map_err(|error| Problem::new(Code::Busy, "decoder", error.to_string()))?;
        let failed = || Problem::new(Code::UndecodableImage, "image", "the decoder failed on this file");
        running.join().unwrap_or_else(|_| Err(failed()))
    })
}

/// Runs decoders on the blocking pool, a few at a time, within a budget of memory.
#[derive(Debug, Clone)]
pub struct DecodePool {
    turns: Arc<Semaphore>,
    budget: Arc<Semaphore>,
}

impl Default for DecodePool {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(MAX_DECODERS)),
            budget: Arc::new(Semaphore::new(DECODE_BUDGET_MIB as usize)),
        }
    }
}

/// What decoding a file may take, in MiB: judged by its length, and by the pixels of a frame where they are compressed.
///
/// # Errors
/// `STORAGE_FAILED` when the file cannot be looked at.
pub async fn cost_mib(path: &Path) -> Result<u32, Problem> {
    let path = path.to_owned();
    let judged = tokio::task::spawn_blocking(move || cost(&path)).await;
    let bytes = judged.map_err(|_| Problem::new(Code::Internal, "object", "the look at it was stopped"))?;
    let bytes = bytes.map_err(|error| Problem::new(Code::StorageFailed, "object", error.to_string()))?;
    Ok(u32::try_from(bytes / MIB).unwrap_or(u32::MAX).saturating_add(1))
}

fn cost(path: &Path) -> std::io::Result<u64> {
    let file = BufReader::new(File::open(path)?);
    let length = file.get_ref().metadata()?.len();
    let Ok(facts) = dicom::admit(file) else { return Ok(length.saturating_mul(COST_FACTOR)) };
    let frame = match facts.pixels {
        PixelForm::Encapsulated { .. } => {
            let side = |side: Option<u32>| u64::from(side.unwrap_or(0));
            let bytes = u64::from(facts.bits_allocated.unwrap_or(8).div_ceil(8))
                * u64::from(facts.samples.unwrap_or(1));
            side(facts.rows).saturating_mul(side(facts.columns)).saturating_mul(bytes)
        }
        // In a deflated file the pixels count, not what they were pressed into.
        PixelForm::Native { length, .. } => length,
        PixelForm::None => 0,
    };
    Ok(length.max(frame).saturating_mul(COST_FACTOR))
}

impl DecodePool {
    /// Runs `work` when there is room for `cost` MiB; what costs more than the whole budget runs alone.
    ///
    /// # Errors
    /// `BUSY` when no turn comes in time, `UNDECODABLE_IMAGE` when the decoder panics, else what `work` says.
    pub async fn run<T: Send + 'static>(
        &self,
        cost: u32,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let cost = cost.clamp(1, DECODE_BUDGET_MIB);
        let room = async {
            let turn = self.turns.clone().acquire_owned().await;
            let budget = self.budget.clone().acquire_many_owned(cost).await;
            (turn, budget)
        };
        let Ok(room) = tokio::time::timeout(DECODE_QUEUE_DEADLINE, room).await else {
            return Err(Problem::new(Code::Busy, "image", "too many images are being decoded"));
        };
        let done = tokio::task::spawn_blocking(move || {
            let _room = room;
            on_deep_stack(work)
        });
        done.await.map_err(|_| Problem::new(Code::Internal, "image", "the decoder was stopped"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_decoder_is_a_refusal_and_gives_its_turn_back() {
        let pool = DecodePool::default();
        for _ in 0..5 {
            let error = pool.run::<()>(DECODE_BUDGET_MIB * 9, || panic!("bad bytes")).await.unwrap_err();
            assert_eq!(error.0.code, Code::UndecodableImage);
        }
        assert_eq!(pool.run(1, || Ok(7)).await, Ok(7));
    }
}
