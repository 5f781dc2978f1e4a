//! Clinics and accounts.

use crate::audit::{self, Entry};
use crate::home::Home;
use crate::store::{NewEvent, Store, StoreError, event, one_row};
use anyhow::Context as _;
use rand::CryptoRng;
use relay_certs::authority::{Authority, DOCTOR_VALID_DAYS, Doctor, Validity};
use relay_certs::certificate::DoctorRole;
use relay_certs::enrol::{EnrolDesk, Invitation};
use relay_certs::signing::{MAX_PIN_CHARS, MIN_PIN_CHARS, to_pkcs12};
use relay_core::clock::UtcMs;
use relay_core::codes::Code;
use relay_core::durable::{Disk as _, RealDisk, write_atomic};
use relay_core::ids::{ClinicId, PersonId};
use relay_core::study::Kind;
use relay_report::limits::{MAX_LINE_CHARS, MAX_NAME_CHARS};
use serde_json::json;
use std::sync::Arc;
use viewer_api::auth::{Entropy, password, totp};
use viewer_api::desk::Role;
use zeroize::Zeroizing;

/// Shortest password: 安全等级保护 asks for eight characters; ten leaves room for a sentence.
pub const MIN_PASSWORD_CHARS: usize = 8;

/// A clinic to be listed.
#[derive(Debug, Clone)]
pub struct NewClinic {
    /// Its id, for good.
    pub id: ClinicId,
    /// Its name.
    pub name: String,
    /// Telephone shown there instead of the county's.
    pub duty_phone: Option<String>,
    /// Opening hours as JSON (`{"days":[[["08:00","12:00"]], … seven]}`), or the county's duty calendar.
    pub hours: Option<String>,
}

fn done(who: &str, action: &str, subject: &str, now: UtcMs) -> Entry {
    Entry {
        at: now,
        who: who.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        allowed: true,
        detail: String::new(),
    }
}

/// Lists a clinic, or changes its name, telephone and hours.
///
/// # Errors
/// Naming what is wrong with the hours; when the store fails.
pub async fn add_clinic(store: &Store, new: NewClinic, now: UtcMs) -> anyhow::Result<()> {
    if let Some(hours) = &new.hours {
        let judged = crate::background::silence::check_hours(hours);
        judged.map_err(|reason| anyhow::anyhow!("field hours: {reason}"))?;
    }
    store
        .write(move |tx| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO clinic (id, name, duty_phone, opening_hours, added_at)
                     VALUES ($1, $2, $3, coalesce($4, '{}'), $5)
                     ON CONFLICT (id) DO UPDATE SET name = excluded.name, disabled_at = NULL,
                         duty_phone = coalesce(excluded.duty_phone, duty_phone),
                         opening_hours = coalesce($4, opening_hours)",
                )
                .bind(new.id.as_str())
                .bind(&new.name)
                .bind(&new.duty_phone)
                .bind(&new.hours)
                .bind(now.0)
                .execute(&mut *tx)
                .await
                .map_err(StoreError::database("list a clinic"))?;
                audit::append(tx, &done("operator", "clinic.add", new.id.as_str(), now)).await?;
                let added = NewEvent {
                    at: now,
                    actor: "operator",
                    kind: "clinic.added",
                    subject: new.id.to_string(),
                    clinic: Some(&new.id),
                    study_id: None,
                    work_item: None,
                    class: None,
                    body: json!({}),
                };
                event::append(tx, added).await.map(|_| ())
            })
        })
        .await?;
    Ok(())
}

/// What is to be changed of a clinic; `None` stays as it is.
#[derive(Debug, Clone)]
pub struct ClinicChange {
    /// Which.
    pub id: ClinicId,
    /// Its name.
    pub name: Option<String>,
    /// Telephone shown there instead of the county's.
    pub duty_phone: Option<String>,
    /// Opening hours as JSON, `{}` = the county's duty calendar.
    pub hours: Option<String>,
    /// 组织机构代码, printed on reports.
    pub organization_code: Option<String>,
}

impl ClinicChange {
    fn check(&self) -> anyhow::Result<()> {
        if let Some(hours) = &self.hours {
            let judged = crate::background::silence::check_hours(hours);
            judged.map_err(|reason| anyhow::anyhow!("field hours: {reason}"))?;
        }
        let texts = [
            ("name", &self.name, MAX_NAME_CHARS),
            ("organization_code", &self.organization_code, MAX_LINE_CHARS),
        ];
        for (field, text, most) in texts {
            printable(field, text.as_deref(), most)?;
        }
        let fields = [&self.name, &self.duty_phone, &self.hours, &self.organization_code];
        anyhow::ensure!(fields.iter().any(|f| f.is_some()), "nothing to change is named");
        Ok(())
    }
}

/// Refuses what could not stand on paper.
fn printable(field: &str, text: Option<&str>, most: usize) -> anyhow::Result<()> {
    let Some(text) = text else { return Ok(()) };
    anyhow::ensure!(!text.trim().is_empty(), "field {field} is empty");
    anyhow::ensure!(text.chars().count() <= most, "field {field}: at most {most} characters");
    anyhow::ensure!(!text.chars().any(char::is_control), "field {field}: a control character");
    Ok(())
}

/// Changes a listed clinic.
///
/// # Errors
/// Naming the field; when there is no such clinic.
pub async fn change_clinic(store: &Store, change: ClinicChange, now: UtcMs) -> anyhow::Result<()> {
    change.check()?;
    store
        .write(move |tx| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE clinic SET name = coalesce($2, name), duty_phone = coalesce($3, duty_phone),
                       opening_hours = coalesce($4, opening_hours), organization_code = coalesce($5, organization_code)
                     WHERE id = $1",
                )
                .bind(change.id.as_str())
                .bind(&change.name)
                .bind(&change.duty_phone)
                .bind(&change.hours)
                .bind(&change.organization_code)
                .execute(&mut *tx)
                .await
                .map_err(StoreError::database("change a clinic"))?;
                if changed.rows_affected() == 0 {
                    let reason = format!("no clinic {}; clinic add lists it", change.id);
                    return Err(StoreError::refuse(Code::NotFound, "clinic", reason));
                }
                audit::append(tx, &done("operator", "clinic.set", change.id.as_str(), now)).await?;
                let told = NewEvent {
                    at: now,
                    actor: "operator",
                    kind: "clinic.changed",
                    subject: change.id.to_string(),
                    clinic: Some(&change.id),
                    study_id: None,
                    work_item: None,
                    class: None,
                    body: json!({}),
                };
                event::append(tx, told).await.map(|_| ())
            })
        })
        .await?;
    Ok(())
}

/// Sets a person's licence number (执业证书编号), printed under his signatures from now on.
///
/// # Errors
/// Naming the field; when there is no such account.
pub async fn set_license(store: &Store, id: &PersonId, number: &str, now: UtcMs) -> anyhow::Result<()> {
    printable("number", Some(number), MAX_LINE_CHARS)?;
    let (id, number) = (id.clone(), number.trim().to_owned());
    store
        .write(move |tx| {
            Box::pin(async move {
                let set = sqlx::query("UPDATE account SET license_no = $2 WHERE id = $1")
                    .bind(id.as_str())
                    .bind(number)
                    .execute(&mut *tx)
                    .await
                    .map_err(StoreError::database("change an account"))?;
                one_row(&set, "account", &id)?;
                audit::append(tx, &done("operator", "account.license", id.as_str(), now)).await
            })
        })
        .await?;
    Ok(())
}

/// A one-time code for a clinic's agent.
///
/// # Errors
/// Of the CA.
pub fn invite(
    home: &Home,
    clinic: &ClinicId,
    valid_for_ms: i64,
    now: UtcMs,
    rng: &mut dyn CryptoRng,
) -> anyhow::Result<Invitation> {
    let authority = Authority::open(&home.ca()).context("opening the county CA")?;
    Ok(EnrolDesk::new(Arc::new(authority)).issue_code(clinic, valid_for_ms, now, rng)?)
}

/// An account to be made.
#[derive(Clone)]
pub struct NewAccount {
    /// Employee id: login name.
    pub id: PersonId,
    /// Name as on reports.
    pub name: String,
    /// What he may do.
    pub roles: Vec<Role>,
    /// Clinics he serves.
    pub clinics: Vec<ClinicId>,
    /// Kinds he reads.
    pub kinds: Vec<Kind>,
    /// Password.
    pub password: Zeroizing<String>,
    /// PIN of the demonstration signing key, for people who sign.
    pub pin: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewAccount").field("id", &self.id).field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl NewAccount {
    /// What he may sign, if anything.
    #[must_use]
    pub fn signs_as(&self) -> Option<DoctorRole> {
        [
            (Role::Reviewer, DoctorRole::Reviewer),
            (Role::Reader, DoctorRole::Reader),
            (Role::Clinician, DoctorRole::Clinician),
        ]
        .into_iter()
        .find_map(|(role, signs)| self.roles.contains(&role).then_some(signs))
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.roles.is_empty(), "field role: name at least one");
        anyhow::ensure!(!self.name.trim().is_empty(), "field name is empty");
        let chars = self.password.chars().count();
        anyhow::ensure!(
            chars >= MIN_PASSWORD_CHARS,
            "field password: {chars} characters, at least {MIN_PASSWORD_CHARS}"
        );
        if self.signs_as().is_some() {
            let pin = self
                .pin
                .as_ref()
                .context("field PIN: people who sign need one (second line of standard input)")?;
            let chars = pin.chars().count();
            anyhow::ensure!(
                (MIN_PIN_CHARS..=MAX_PIN_CHARS).contains(&chars),
                "field PIN: {chars} characters, {MIN_PIN_CHARS} to {MAX_PIN_CHARS} are lawful"
            );
        }
        Ok(())
    }
}

/// Refuses a clinic that the county does not know: who serves it would see nothing, and nobody would know why.
async fn require_clinics(store: &Store, clinics: &[ClinicId]) -> anyhow::Result<()> {
    let mut tx = store.read().await?;
    for clinic in clinics {
        let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM clinic WHERE id = $1")
            .bind(clinic.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        anyhow::ensure!(known.is_some(), "field clinic: no clinic {clinic}; `clinic add` lists it");
    }
    Ok(())
}

/// What is shown once.
#[derive(Clone, serde::Serialize)]
pub struct Added {
    /// Login name.
    pub id: String,
    /// TOTP secret in base32, for people who read; nowhere to be read again.
    pub totp_secret: Option<String>,
    /// The same as a link for an authenticator.
    pub totp_uri: Option<String>,
    /// File of the demonstration signing key.
    pub signer: Option<String>,
}

impl std::fmt::Debug for Added {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Added").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes an account, and for people who sign a demonstration key under their PIN.
///
/// # Errors
/// Naming the field; an account that exists is not changed.
pub async fn add_account(
    home: &Home,
    store: &Store,
    new: NewAccount,
    now: UtcMs,
    entropy: &dyn Entropy,
    rng: &mut (dyn CryptoRng + Send),
) -> anyhow::Result<Added> {
    new.check()?;
    let exists: Option<i64> = {
        let mut tx = store.read().await?;
        sqlx::query_scalar("SELECT 1 FROM account WHERE id = $1")
            .bind(new.id.as_str())
            .fetch_optional(&mut *tx)
            .await?
    };
    anyhow::ensure!(exists.is_none(), "account {} exists", new.id);
    require_clinics(store, &new.clinics).await?;
    let problem = |p: viewer_api::problem::Problem| anyhow::anyhow!("{}", p.0);
    let hash = password::hash(&new.password, entropy).map_err(problem)?;
    let signs = new.signs_as();
    let secret = signs.map(|_| totp::new_secret(entropy)).transpose().map_err(problem)?;
    let signer = match (signs, &new.pin) {
        (Some(role), Some(pin)) => Some(demo_key(home, &new, role, pin, now, rng)?),
        _ => None,
    };
    let words = |value: serde_json::Value| value.to_string();
    let (roles, clinics, kinds) =
        (words(json!(new.roles)), words(json!(new.clinics)), words(json!(new.kinds)));
    let (id, name, stored_secret, stored_signer) =
        (new.id.clone(), new.name.clone(), secret.clone(), signer.clone());
    store
        .write(move |tx| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO account (id, name, roles, clinics, kinds, password_hash, totp_secret, signer_file, added_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                )
                .bind(id.as_str())
                .bind(name)
                .bind(roles)
                .bind(clinics)
                .bind(kinds)
                .bind(hash)
                .bind(stored_secret)
                .bind(stored_signer)
                .bind(now.0)
                .execute(&mut *tx)
                .await
                .map_err(StoreError::database("add an account"))?;
                audit::append(tx, &done("operator", "account.add", id.as_str(), now)).await
            })
        })
        .await?;
    let totp_uri =
        secret.as_ref().map(|s| format!("otpauth://totp/Relay:{}?secret={s}&issuer=Relay", new.id));
    Ok(Added { id: new.id.to_string(), totp_secret: secret, totp_uri, signer })
}

fn demo_key(
    home: &Home,
    new: &NewAccount,
    role: DoctorRole,
    pin: &str,
    now: UtcMs,
    rng: &mut dyn CryptoRng,
) -> anyhow::Result<String> {
    let authority = Authority::open(&home.ca()).context("opening the county CA")?;
    let doctor = Doctor { person: new.id.clone(), name: new.name.clone(), role };
    let issued = authority.issue_demo_doctor(&doctor, Validity::days(now, DOCTOR_VALID_DAYS), now, rng)?;
    let file = format!("{}.p12", new.id);
    RealDisk.create_dir_all(&home.signers()).context("creating the signers' directory")?;
    write_atomic(&RealDisk, &home.signers().join(&file), &to_pkcs12(&issued, pin)?, 0o600)
        .context("saving the signing key")?;
    Ok(file)
}

/// Sets which clinics a person serves.
///
/// # Errors
/// When there is no such account, or no such clinic.
pub async fn serve_clinics(
    store: &Store,
    id: &PersonId,
    clinics: &[ClinicId],
    now: UtcMs,
) -> anyhow::Result<()> {
    require_clinics(store, clinics).await?;
    let (id, list) = (id.clone(), json!(clinics).to_string());
    store
        .write(move |tx| {
            Box::pin(async move {
                let done_rows = sqlx::query("UPDATE account SET clinics = $2 WHERE id = $1")
                    .bind(id.as_str())
                    .bind(list)
                    .execute(&mut *tx)
                    .await
                    .map_err(StoreError::database("change an account"))?;
                one_row(&done_rows, "account", &id)?;
                audit::append(tx, &done("operator", "account.clinics", id.as_str(), now)).await
            })
        })
        .await?;
    Ok(())
}

/// Closes an account and ends its sessions.
///
/// # Errors
/// When there is no such account.
pub async fn disable_account(store: &Store, id: &PersonId, now: UtcMs) -> anyhow::Result<()> {
    let id = id.clone();
    store
        .write(move |tx| {
            Box::pin(async move {
                let done_rows =
                    sqlx::query("UPDATE account SET disabled_at = coalesce(disabled_at, $2) WHERE id = $1")
                        .bind(id.as_str())
                        .bind(now.0)
                        .execute(&mut *tx)
                        .await
                        .map_err(StoreError::database("close an account"))?;
                one_row(&done_rows, "account", &id)?;
                sqlx::query("UPDATE session SET closed_at = coalesce(closed_at, $2) WHERE account = $1")
                    .bind(id.as_str())
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await
                    .map_err(StoreError::database("end sessions"))?;
                audit::append(tx, &done("operator", "account.disable", id.as_str(), now)).await
            })
        })
        .await?;
    Ok(())
}
