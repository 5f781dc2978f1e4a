//! People at the clinic and their PINs (argon2id).

use super::error::db;
use super::{Spool, SpoolError, blocking};
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use relay_core::clock::{MINUTE_MS, UtcMs};
use sqlx::Row as _;

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
    #[error("wrong name or PIN")]
    Wrong,
    /// Too many failures.
    #[error("locked until {0:?} after {MAX_FAILURES} wrong PINs")]
    Locked(UtcMs),
    /// The name or the PIN has a form that is not taken.
    #[error("{0}")]
    Form(String),
    /// The store failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl PinError {
    /// What a Chinese user is told.
    #[must_use]
    pub fn zh(&self) -> String {
        match self {
            Self::Wrong => "姓名或PIN错误".to_owned(),
            Self::Locked(_) => "PIN错误次数过多，请5分钟后再试".to_owned(),
            Self::Form(reason) => format!("格式不正确：{reason}"),
            Self::Spool(_) => "本机存储故障".to_owned(),
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
            return Err(PinError::Form(format!(
                "a name has 1 to {MAX_NAME_CHARS} characters and no outer spaces"
            )));
        }
        if !(MIN_PIN_CHARS..=MAX_PIN_CHARS).contains(&pin.chars().count()) {
            return Err(PinError::Form(format!("a PIN has {MIN_PIN_CHARS} to {MAX_PIN_CHARS} characters")));
        }
        let pin = pin.to_owned();
        let hash = blocking(move || {
            argon2::Argon2::default().hash_password_with_salt(pin.as_bytes(), &salt).map(|h| h.to_string())
        });
        let hash = hash.await?.map_err(|e| PinError::Form(e.to_string()))?;
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

    /// Checks a person's PIN. After `MAX_FAILURES` failures in a row the person is locked for five minutes.
    ///
    /// # Errors
    /// [`PinError`].
    pub async fn check_pin(&self, name: &str, pin: &str) -> Result<(), PinError> {
        let row = sqlx::query("SELECT pin_hash, locked_until FROM staff WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.0.reader)
            .await
            .map_err(db("look a person up"))?
            .ok_or(PinError::Wrong)?;
        let now = self.now();
        if let Some(until) = row.get::<Option<i64>, _>("locked_until").map(UtcMs).filter(|until| *until > now)
        {
            return Err(PinError::Locked(until));
        }
        let (pin, hash): (String, String) = (pin.to_owned(), row.get("pin_hash"));
        let right = blocking(move || {
            let hash = argon2::PasswordHash::new(&hash).map_err(|_| ());
            hash.is_ok_and(|hash| argon2::Argon2::default().verify_password(pin.as_bytes(), &hash).is_ok())
        })
        .await?;
        let statement = if right {
            "UPDATE staff SET failures = 0, locked_until = NULL WHERE name = ?1"
        } else {
            "UPDATE staff SET failures = CASE WHEN failures + 1 >= ?2 THEN 0 ELSE failures + 1 END,
                locked_until = CASE WHEN failures + 1 >= ?2 THEN ?3 ELSE locked_until END WHERE name = ?1"
        };
        let mut query = sqlx::query(statement).bind(name);
        if !right {
            query = query.bind(MAX_FAILURES).bind(now.plus_ms(LOCK_MS).0);
        }
        query.execute(&self.0.writer).await.map_err(db("count PIN failures"))?;
        if right { Ok(()) } else { Err(PinError::Wrong) }
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
        Ok(rows
            .iter()
            .map(|row| StaffRow {
                name: row.get("name"),
                added_at: UtcMs(row.get("added_at")),
                locked_until: row.get::<Option<i64>, _>("locked_until").map(UtcMs),
            })
            .collect())
    }
}
