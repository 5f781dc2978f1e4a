//! What is known of the way to the county, for the choice of a coded form: what the line carries, which films the county restores and how fast,
//! and how fast films are coded here.

use super::coded::{How, Pace};
use super::error::db;
use super::{Spool, SpoolError};
use crate::courier::ports::Answering;
use crate::sniff::Sniff;
use relay_film::{Speed, Speeds};
use sqlx::sqlite::SqlitePool;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A line that was never measured counts as one of 20 Mbit/s up, in bytes a second: the middle of what townships have. Up to there the
/// strongest coder keeps up.
const LINE_UNMEASURED: u64 = 2_500_000;
/// Half of what one core of a small server restores, for a county that does not say: bytes a second.
const COUNTY_UNSAID: Told = Told { quick: 200_000_000, strong: 12_000_000 };
/// A measured rate this much off the recorded one (1/8) is worth a write to the disk.
const NEWS_SHARE: u64 = 8;

/// Bytes a second that the county restores of films.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    quick: u64,
    strong: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    line: Option<u64>,
    takes_film: bool,
    county: Option<Told>,
}

/// The way to the county.
#[derive(Debug)]
pub(super) struct Way {
    known: Mutex<Known>,
    /// Of the coders on this machine, measured when the first film comes.
    own: OnceLock<Speeds>,
}

impl Way {
    /// As it was known when the agent stopped. A county that has never answered is taken for one like this agent.
    pub(super) async fn remembered(reader: &SqlitePool) -> Result<Self, SpoolError> {
        let line: Option<i64> = sqlx::query_scalar("SELECT bytes_per_second FROM line")
            .fetch_optional(reader)
            .await
            .map_err(db("read what the line carries"))?;
        let county: Option<(bool, Option<i64>, Option<i64>)> =
            sqlx::query_as("SELECT takes_film, film_quick, film_strong FROM county")
                .fetch_optional(reader)
                .await
                .map_err(db("read what the county restores"))?;
        let (takes_film, quick, strong) = county.unwrap_or((true, None, None));
        let speed = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
        let county = speed(quick).zip(speed(strong)).map(|(quick, strong)| Told { quick, strong });
        let known = Known { line: line.and_then(|n| u64::try_from(n).ok()), takes_film, county };
        Ok(Self { known: Mutex::new(known), own: OnceLock::new() })
    }

    fn known(&self) -> Known {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the county that answered last restores films.
    pub(super) fn takes_film(&self) -> bool {
        self.known().takes_film
    }

    pub(super) fn answered(&self, county: &Answering) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.takes_film = county.takes_film;
        known.county = county.film_speeds.map(|s| Told { quick: s.quick, strong: s.strong });
    }

    /// Measures the coders of this machine the first time: some tens of milliseconds. Blocks.
    fn pace(&self) -> Pace {
        let Known { line, county, .. } = self.known();
        let begin = tokio::time::Instant::now();
        let own = self.own.get_or_init(|| relay_film::measure(|| begin.elapsed()));
        let county = county.unwrap_or(COUNTY_UNSAID);
        let of = |own: Speed, decode| Speed { encode: own.encode, decode };
        let speeds = Speeds { quick: of(own.quick, county.quick), strong: of(own.strong, county.strong) };
        Pace { line: line.unwrap_or(LINE_UNMEASURED), speeds }
    }
}

impl Spool {
    /// How an object is to be coded that has just come. Blocks.
    pub(super) fn how(&self, sniff: &Sniff) -> How {
        match sniff.layout {
            _ if !sniff.compressible => How::Identity,
            Some(layout) if self.0.way.takes_film() => How::Choose(layout, self.0.way.pace()),
            _ => How::Zstd,
        }
    }

    /// Keeps what the line carries, for the choice of coders now and after a restart.
    pub(super) async fn record_line(&self, bytes_per_second: u64) -> Result<(), SpoolError> {
        let before = {
            let mut known = self.0.way.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.line.replace(bytes_per_second)
        };
        if before.is_some_and(|before| before.abs_diff(bytes_per_second) < before / NEWS_SHARE) {
            // Measured against the recorded one again next time.
            self.0.way.known.lock().unwrap_or_else(PoisonError::into_inner).line = before;
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO line (id, bytes_per_second, measured_at) VALUES (1, ?1, ?2)
             ON CONFLICT (id) DO UPDATE SET bytes_per_second = ?1, measured_at = ?2",
        )
        .bind(i64::try_from(bytes_per_second).unwrap_or(i64::MAX))
        .bind(self.now().0)
        .execute(&self.0.writer)
        .await
        .map_err(db("record what the line carries"))?;
        Ok(())
    }
}
