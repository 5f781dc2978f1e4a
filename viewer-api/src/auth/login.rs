//! Login: address rate, lockout, password, second factor, in an order that tells nothing about accounts.

use super::{session, totp};
use crate::desk::{Account, Role, SESSION_ABSOLUTE_MS};
use crate::problem::Problem;
use crate::state::Viewer;
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::ids::PersonId;
use serde::Deserialize;
use std::net::IpAddr;
use utoipa::ToSchema;

/// What a person types in.
#[derive(Deserialize, ToSchema)]
pub struct Login {
    /// Employee id.
    pub login: String,
    /// Password.
    pub password: String,
    /// Code of the authenticator; required for people who read.
    #[serde(default)]
    pub totp: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// An opened session.
#[derive(Debug)]
pub struct Opened {
    /// Value of the cookie.
    pub token: String,
    /// Whose.
    pub reader: crate::desk::Reader,
    /// Absolute end.
    pub expires_at: UtcMs,
}

fn wrong() -> Problem {
    Problem::new(Code::Unauthenticated, "login", "login, password or code is wrong")
}

fn needs_second_factor(account: &Account) -> bool {
    let reads = [Role::Reader, Role::Reviewer, Role::Clinician];
    account.totp_secret.is_some() || account.reader.roles.iter().any(|role| reads.contains(role))
}

/// The step of a right code; `None` inside when none is needed.
fn second_factor(account: &Account, code: Option<&str>, now: UtcMs) -> Result<Option<Option<u64>>, Problem> {
    if !needs_second_factor(account) {
        return Ok(Some(None));
    }
    let (Some(secret), Some(code)) = (account.totp_secret.as_deref(), code) else { return Ok(None) };
    Ok(totp::check(secret, code, account.totp_last_step, now)?.map(Some))
}

/// Opens a session.
///
/// # Errors
/// `TOO_MANY_ATTEMPTS` for the address, `ACCOUNT_LOCKED`, `UNAUTHENTICATED` for everything that is wrong.
pub async fn open(state: &Viewer, peer: IpAddr, login: Login, now: UtcMs) -> Result<Opened, Problem> {
    if !state.login_rate.allow(peer, now) {
        return Err(Problem::new(Code::TooManyAttempts, "address", "too many attempts from this address"));
    }
    let Ok(person) = PersonId::parse(&login.login) else {
        state.passwords.verify(login.password, None).await?;
        return Err(wrong());
    };
    let account = state.desk.account(&person).await?;
    let stored = account.as_ref().map(|account| account.password_hash.clone());
    // The hash is spent in every case, before anything is answered.
    let right = state.passwords.verify(login.password, stored).await?;
    let Some(account) = account else {
        let locked = state.unknown_logins.locked(person.as_str(), now);
        if locked {
            return Err(locked_problem());
        }
        state.unknown_logins.failed(person.as_str(), now);
        return Err(wrong());
    };
    if account.locked_until.is_some_and(|until| until > now) {
        return Err(locked_problem());
    }
    let peer = peer.to_string();
    let step = if right { second_factor(&account, login.totp.as_deref(), now)? } else { None };
    let Some(step) = step else {
        state.desk.record_login(&person, false, None, &peer, now).await?;
        return Err(wrong());
    };
    state.desk.record_login(&person, true, step, &peer, now).await?;
    let (token, digest) = session::new_token(state)?;
    let expires_at = now.plus_ms(SESSION_ABSOLUTE_MS);
    state.desk.open_session(&digest, &person, expires_at, now).await?;
    Ok(Opened { token, reader: account.reader, expires_at })
}

fn locked_problem() -> Problem {
    Problem::new(Code::AccountLocked, "login", "locked after too many failures; try again in 15 minutes")
}
