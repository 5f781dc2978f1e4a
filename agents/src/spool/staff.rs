//! People at the clinic and their PINs (argon2id).

use super::cells::Cells;
use super::error::db;
use super::{Spool, SpoolError, blocking};
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use relay_core::clock::{MINUTE_MS, UtcMs};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Shortest PIN: four digits can be guessed in an afternoon, six with a lock after five failures cannot.
const MIN_PIN_CHARS: usize = 6;
/// Longest PIN: argon2 takes more, people do not.
const MAX_PIN_CHARS: usize = 64;
/// Longest name.
const MAX_NAME_CHARS: usize = 64;
/// Failures before a lock.
const MAX_FAILURES: i64 = 5;
/// How long the lock holds.
const LOCK_MS: i64 = 5 * MINUTE_MS;
/// PINs that are tried at a time: argon2 takes 19 MiB for each.
const TRIES_AT_ONCE: usize = 2;
/// People who may wait for their turn; a try takes about 50 ms.
const TRIES_WAITING: usize = 16;

/// Bounds the memory that guesses can take.
#[derive(Debug)]
pub(super) struct PinDesk {
    queue: Semaphore,
    tries: Semaphore,
}

impl Default for PinDesk {
    fn default() -> Self {
        Self { queue: Semaphore::new(TRIES_AT_ONCE + TRIES_WAITING), tries: Semaphore::new(TRIES_AT_ONCE) }
    }
}

impl PinDesk {
    /// Waits for its turn; refused when too many wait already.
    async fn turn(&self) -> Result<[SemaphorePermit<'_>; 2], PinError> {
        let queued = self.queue.try_acquire().map_err(|_| PinError::Busy)?;
        let turn = self.tries.acquire().await.map_err(|_| PinError::Busy)?;
        Ok([queued, turn])
    }
}

/// A person enrolled at the clinic.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StaffRow {
    /// Name as it appears in acknowledgements.
    pub name: String,
    /// When enrolled.
    pub added_at: UtcMs,
    /// Locked after too many wrong PINs, until then.
    pub locked_until: Option<UtcMs>,
}

/// Why a person is not recognised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// No such person, or the wrong PIN: the two are not told apart.
    #[error("wrong name or PIN: try again, after {MAX_FAILURES} wrong PINs the name is locked for 5 minutes")]
    Wrong,
    /// Too many failures.
    #[error("locked until {} after {MAX_FAILURES} wrong PINs: wait, or enrol the person again on the agent's machine (relay-agent staff add)", .0.to_rfc3339())]
    Locked(UtcMs),
    /// More PINs are being tried than the machine has memory for.
    #[error("too many PINs are being tried at once: try again")]
    Busy,
    /// The name or the PIN has a form that is not taken.
    #[error("{en}")]
    Form {
        /// What is taken, in Chinese.
        zh: String,
        /// What is taken, in English.
        en: String,
    },
    /// The store failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl PinError {
    /// What a Chinese user is told.
    #[must_use]
    pub fn zh(&self) -> String {
        match self {
            Self::Wrong => "姓名或PIN错误，请重新输入（连续错5次将锁定5分钟）".to_owned(),
            Self::Locked(_) => {
                "PIN连续错误5次，已锁定5分钟，请稍后再试；忘记PIN请联系管理员在本机重新登记".to_owned()
            }
            Self::Busy => "同时验证PIN的人过多，请稍后再试".to_owned(),
            Self::Form { zh, .. } => zh.clone(),
            Self::Spool(error) if error.is_full() => "本机磁盘已满，请联系管理员清理后再试".to_owned(),
            Self::Spool(_) => "本机存储故障，请联系管理员（relay-agent doctor）".to_owned(),
        }
    }
}

impl Spool {
    /// Enrols a person, or gives a person a new PIN. `salt` is 16 random bytes from the caller.
    ///
    /// # Errors
    /// [`PinError::Form`] or of the store.
    pub async fn add_staff(&self, name: &str, pin: &str, salt: [u8; 16]) -> Result<(), PinError> {
        let chars = name.chars().count();
        if chars == 0 || chars > MAX_NAME_CHARS || name.trim() != name || name.chars().any(char::is_control) {
            return Err(PinError::Form {
                zh: format!("姓名须为1至{MAX_NAME_CHARS}个字，首尾不能有空格"),
                en: format!("a name has 1 to {MAX_NAME_CHARS} characters and no outer spaces"),
            });
        }
        if !(MIN_PIN_CHARS..=MAX_PIN_CHARS).contains(&pin.chars().count()) {
            return Err(PinError::Form {
                zh: format!("PIN码须为{MIN_PIN_CHARS}至{MAX_PIN_CHARS}位"),
                en: format!("a PIN has {MIN_PIN_CHARS} to {MAX_PIN_CHARS} characters"),
            });
        }
        let pin = pin.to_owned();
        let _turn = self.0.pins.turn().await?;
        let hash = blocking(move || {
            argon2::Argon2::default().hash_password_with_salt(pin.as_bytes(), &salt).map(|h| h.to_string())
        });
        let hash = hash
            .await?
            .map_err(|e| PinError::Form { zh: format!("PIN码无法使用：{e}"), en: e.to_string() })?;
        sqlx::query(
            "INSERT INTO staff (name, pin_hash, added_at) VALUES (?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET pin_hash = excluded.pin_hash, failures = 0, locked_until = NULL",
        )
        .bind(name)
        .bind(hash)
        .bind(self.now().0)
        .execute(&self.0.writer)
        .await
        .map_err(db("enrol a person"))?;
        Ok(())
    }

    /// Checks a person's PIN. Each try counts as a failure before it is made and is struck out when it was right, so
    /// tries side by side are counted too; the fifth failure in a row locks the person for five minutes.
    ///
    /// # Errors
    /// [`PinError`].
    pub async fn check_pin(&self, name: &str, pin: &str) -> Result<(), PinError> {
        let _turn = self.0.pins.turn().await?;
        let hash = self.count_try(name).await?;
        let pin = pin.to_owned();
        let right = blocking(move || {
            let hash = argon2::PasswordHash::new(&hash).map_err(|_| ());
            hash.is_ok_and(|hash| argon2::Argon2::default().verify_password(pin.as_bytes(), &hash).is_ok())
        });
        if !right.await? {
            return Err(PinError::Wrong);
        }
        sqlx::query("UPDATE staff SET failures = 0, locked_until = NULL WHERE name = ?")
            .bind(name)
            .execute(&self.0.writer)
            .await
            .map_err(db("forget PIN failures"))?;
        Ok(())
    }

    /// Counts a try of a person who is not locked, and gives the PIN's hash.
    async fn count_try(&self, name: &str) -> Result<String, PinError> {
        let now = self.now();
        let counted = sqlx::query_scalar(
            "UPDATE staff SET failures = CASE WHEN failures + 1 >= ?2 THEN 0 ELSE failures + 1 END,
                locked_until = CASE WHEN failures + 1 >= ?2 THEN ?3 ELSE NULL END
             WHERE name = ?1 AND (locked_until IS NULL OR locked_until <= ?4) RETURNING pin_hash",
        )
        .bind(name)
        .bind(MAX_FAILURES)
        .bind(now.plus_ms(LOCK_MS).0)
        .bind(now.0)
        .fetch_optional(&self.0.writer)
        .await
        .map_err(db("count a PIN try"))?;
        if let Some(hash) = counted {
            return Ok(hash);
        }
        let locked: Option<Option<i64>> = sqlx::query_scalar("SELECT locked_until FROM staff WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("look a person up"))?;
        Err(locked.flatten().map_or(PinError::Wrong, |until| PinError::Locked(UtcMs(until))))
    }

    /// Everybody enrolled, by name.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn staff(&self) -> Result<Vec<StaffRow>, SpoolError> {
        let rows = sqlx::query("SELECT name, added_at, locked_until FROM staff ORDER BY name")
            .fetch_all(&self.0.reader)
            .await
            .map_err(db("list staff"))?;
        Ok(self.readable(rows.iter().map(|row| {
            let cells = Cells::of(row, "staff", "name");
            Ok(StaffRow {
                name: cells.get("name")?,
                added_at: cells.time("added_at")?,
                locked_until: cells.maybe_time("locked_until")?,
            })
        })))
    }
}
