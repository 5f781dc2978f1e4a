//! Waiting for a condition, with a deadline and the last thing that was seen.

use anyhow::bail;
use std::time::Duration;
use tokio::time::Instant;

/// First pause between two looks; each is half as long again, up to [`SLOWEST_LOOK`].
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// Longest pause between two looks: people do not notice it, and a busy machine is left alone.
const SLOWEST_LOOK: Duration = Duration::from_millis(250);

/// What one look at the world gave.
#[derive(Debug)]
pub enum Look<T> {
    /// It is so.
    There(T),
    /// Not yet; this is how it stands.
    NotYet(String),
}

/// Looks until it is so.
///
/// # Errors
/// The error of a look, or after the deadline what was waited for and how it stood last.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Look<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    let mut pause = FIRST_LOOK;
    loop {
        let seen = match look().await? {
            Look::There(value) => return Ok(value),
            Look::NotYet(seen) => seen,
        };
        if Instant::now() >= end {
            bail!("waited {} s for {what}; last seen: {seen}", deadline.as_secs());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(SLOWEST_LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_fails_says_what_it_saw_last() {
        let mut looks = 0;
        let waited = until::<()>("the moon", Duration::from_secs(3), async || {
            looks += 1;
            Ok(Look::NotYet("clouds".to_owned()))
        });
        let error = waited.await.unwrap_err().to_string();
        assert!(error.contains("the moon") && error.contains("clouds"), "{error}");
        assert!(looks > 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_is_given_at_once() {
        let found = until("a number", Duration::from_secs(1), async || Ok(Look::There(7))).await;
        assert_eq!(found.unwrap(), 7);
    }
}
