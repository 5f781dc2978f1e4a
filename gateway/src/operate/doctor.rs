//! What is wrong, and what to do about it.

use crate::config::Config;
use crate::home::Home;
use crate::store::Store;
use crate::{audit, lifecycle};
use relay_certs::authority::Authority;
use relay_certs::trust::TlsIdentity;
use relay_core::clock::{Clock, DAY_MS};
use relay_core::durable::{Disk as _, RealDisk};
use relay_core::ids::Sha256;

/// A certificate that ends within this time is to be renewed.
const RENEW_BEFORE_MS: i64 = 30 * DAY_MS;

/// Faults named in one line.
const MAX_NAMED: usize = 5;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing to do.
    Ok,
    /// Somebody should look.
    Warning,
    /// The gateway cannot do its work.
    Failed,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// For people who read Chinese.
    pub zh: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
}

fn check(name: &'static str, zh: &'static str, result: Result<(Outcome, String), String>) -> Check {
    let (outcome, detail) = result.unwrap_or_else(|reason| (Outcome::Failed, reason));
    Check { name, zh, outcome, detail }
}

/// Looks at everything that a home needs. Never fails: what cannot be looked at is a failed check.
pub async fn examine(home: &Home, clock: &dyn Clock) -> Vec<Check> {
    let config = Config::load(home.path());
    let mut checks = vec![
        check(
            "configuration",
            "配置文件",
            match &config {
                Ok(config) => config
                    .policy(home.path())
                    .map(|_| (Outcome::Ok, "readable".to_owned()))
                    .map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            },
        ),
        check("running", "网关进程", running(home)),
        check("county CA", "县级CA", authority(home)),
        check("server certificate", "服务器证书", certificate(home, clock)),
    ];
    if let Ok(config) = &config {
        checks.push(check("disk", "磁盘空间", disk(home, config)));
        checks.push(check("fonts", "报告字体", fonts(config)));
    }
    match super::open_store(home).await {
        Ok(store) => {
            checks.extend(database(&store).await);
            store.close().await;
        }
        Err(error) => checks.push(check("database", "数据库", Err(format!("{error:#}")))),
    }
    checks
}

fn running(home: &Home) -> Result<(Outcome, String), String> {
    match lifecycle::lock_home(home.path()) {
        Ok(None) => {
            let addresses = std::fs::read_to_string(home.addresses()).unwrap_or_default();
            let words: Vec<&str> = addresses.split_whitespace().collect();
            Ok((Outcome::Ok, format!("running {}", words.join(" "))))
        }
        Ok(Some(_)) => Ok((Outcome::Warning, "not running: start it with `relay-gateway run`".to_owned())),
        Err(error) => Err(error.to_string()),
    }
}

fn authority(home: &Home) -> Result<(Outcome, String), String> {
    let authority = Authority::open(&home.ca()).map_err(|e| e.to_string())?;
    Ok((Outcome::Ok, format!("{}, fingerprint {}", authority.county(), authority.ca_fingerprint())))
}

fn certificate(home: &Home, clock: &dyn Clock) -> Result<(Outcome, String), String> {
    let identity = TlsIdentity::load(&home.server_chain(), &home.server_key()).map_err(|e| e.to_string())?;
    let own = Sha256::of(&identity.key.public_key_der());
    let issued = Authority::open(&home.ca()).and_then(|ca| ca.certificates()).map_err(|e| e.to_string())?;
    let Some(record) = issued.iter().rev().find(|record| record.public_key_sha256 == own) else {
        return Ok((Outcome::Warning, "not issued by this county's CA".to_owned()));
    };
    if record.revoked.is_some() {
        return Err("revoked; run `relay-gateway certificate`".to_owned());
    }
    let detail = format!("valid until {}", record.not_after.to_rfc3339());
    match record.not_after.since(clock.now()) {
        i64::MIN..=0 => Err(format!("{detail}: expired; run `relay-gateway certificate`")),
        1..RENEW_BEFORE_MS => Ok((Outcome::Warning, format!("{detail}: run `relay-gateway certificate`"))),
        _ => Ok((Outcome::Ok, detail)),
    }
}

fn disk(home: &Home, config: &Config) -> Result<(Outcome, String), String> {
    let free = RealDisk.free_bytes(home.path()).map_err(|e| e.to_string())?;
    let floor = config.room().free_floor_bytes;
    let detail = format!("{} MiB free, {} MiB are kept free", free >> 20, floor >> 20);
    match free {
        _ if free < floor => Err(format!("{detail}: objects are refused; make room")),
        _ if free < floor.saturating_mul(4) => Ok((Outcome::Warning, detail)),
        _ => Ok((Outcome::Ok, detail)),
    }
}

fn fonts(config: &Config) -> Result<(Outcome, String), String> {
    relay_report::Fonts::load(config.report.font_dir.as_deref())
        .map(|_| (Outcome::Ok, "found".to_owned()))
        .map_err(|e| format!("{e}: install fonts-noto-cjk"))
}

async fn database(store: &Store) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut tx = match store.read().await {
        Ok(tx) => tx,
        Err(error) => return vec![check("database", "数据库", Err(error.to_string()))],
    };
    let quick: Result<String, sqlx::Error> =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *tx).await;
    checks.push(check(
        "database",
        "数据库",
        match quick {
            Ok(word) if word == "ok" => Ok((Outcome::Ok, word)),
            Ok(reason) => Err(reason),
            Err(error) => Err(error.to_string()),
        },
    ));
    let chain = audit::verify(&mut tx).await;
    checks.push(check(
        "audit log",
        "审计日志",
        match chain {
            Ok(found) => match found.broken {
                None => Ok((Outcome::Ok, format!("{} entries, head {}", found.entries, found.head))),
                Some(broken) => Err(format!("entry {}: {}", broken.seq, broken.reason)),
            },
            Err(error) => Err(error.to_string()),
        },
    ));
    for (name, zh, sql) in [
        ("damaged objects", "损坏的文件", "SELECT count(*) FROM location WHERE status <> 'ok'"),
        (
            "refused letters",
            "被拒收的报告",
            "SELECT count(*) FROM letter WHERE refused_at IS NOT NULL AND received_at IS NULL AND superseded_at IS NULL
               AND kind NOT IN ('study_status', 'critical_notice')",
        ),
        (
            "letters that do not get through",
            "未能送达的报告",
            "SELECT count(*) FROM letter WHERE delays > 0 AND refused_at IS NULL AND received_at IS NULL
               AND superseded_at IS NULL AND kind <> 'study_status'",
        ),
        (
            "failed jobs",
            "失败的后台任务",
            "SELECT count(*) FROM job WHERE state = 'failed' AND kind <> 'preview'",
        ),
        ("silent clinics", "失联机构", "SELECT count(*) FROM clinic WHERE silent_since IS NOT NULL"),
    ] {
        let count: Result<i64, sqlx::Error> = sqlx::query_scalar(sql).fetch_one(&mut *tx).await;
        checks.push(check(
            name,
            zh,
            match count {
                Ok(0) => Ok((Outcome::Ok, "none".to_owned())),
                Ok(count) => Ok((Outcome::Warning, count.to_string())),
                Err(error) => Err(error.to_string()),
            },
        ));
    }
    checks.push(check("clinics' clocks", "机构时钟", clocks(&mut tx).await));
    checks.push(check("damaged rows", "损坏的记录", damaged_rows(&mut tx).await));
    checks.push(check("refused critical notices", "被拒收的危急值", refused_criticals(&mut tx).await));
    checks
}

/// A clinic whose clock is off has its times corrected by what the link measures; somebody should set it right all the same.
async fn clocks(tx: &mut sqlx::SqliteConnection) -> Result<(Outcome, String), String> {
    let off: Result<Vec<(String, i64)>, _> = sqlx::query_as(
        "SELECT id, clock_offset_ms FROM clinic WHERE abs(clock_offset_ms) > $1 AND disabled_at IS NULL
         ORDER BY abs(clock_offset_ms) DESC, id",
    )
    .bind(crate::ingest::CLOCK_TOLERATED_MS)
    .fetch_all(tx)
    .await;
    match off.map_err(|error| error.to_string())?.as_slice() {
        [] => Ok((Outcome::Ok, "none is off".to_owned())),
        off => {
            let named: Vec<String> =
                off.iter().take(MAX_NAMED).map(|(id, ms)| format!("{id} {} s", -ms / 1_000)).collect();
            let more = off.len() - named.len();
            let more = if more > 0 { format!(", {more} more") } else { String::new() };
            Ok((Outcome::Warning, format!("off: {}{more}: set the agent's clock", named.join(", "))))
        }
    }
}

/// Open work of which a part cannot be read is not on the readers' list, or not whole.
async fn damaged_rows(tx: &mut sqlx::SqliteConnection) -> Result<(Outcome, String), String> {
    let faults = crate::queue::damaged(tx).await.map_err(|error| error.to_string())?;
    match faults.as_slice() {
        [] => Ok((Outcome::Ok, "none".to_owned())),
        faults => {
            let named: Vec<String> = faults.iter().take(MAX_NAMED).map(ToString::to_string).collect();
            let more = faults.len() - named.len();
            let more = if more > 0 { format!("; {more} more") } else { String::new() };
            Err(format!("{}{more}: put the row right from a backup", named.join("; ")))
        }
    }
}

/// A critical notice that does not ring at the clinic must be told by telephone: nothing else here is as urgent.
async fn refused_criticals(tx: &mut sqlx::SqliteConnection) -> Result<(Outcome, String), String> {
    let waiting: Result<Vec<String>, sqlx::Error> = sqlx::query_scalar(
        "SELECT clinic FROM letter WHERE kind = 'critical_notice' AND refusals + delays > 0 AND received_at IS NULL
           AND superseded_at IS NULL ORDER BY written_at",
    )
    .fetch_all(tx)
    .await;
    match waiting.map_err(|error| error.to_string())?.as_slice() {
        [] => Ok((Outcome::Ok, "none".to_owned())),
        clinics => Err(format!(
            "{} not at the clinic: telephone {}; see `relay-gateway letter list`",
            clinics.len(),
            clinics.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::samples::{Film, Lab, manifest, plain};
    use relay_core::study::Class;

    #[tokio::test]
    async fn a_clinic_whose_clock_is_off_and_a_row_that_cannot_be_read_are_named() {
        let lab = Lab::new().await;
        let bytes = Film::default().bytes();
        lab.deliver("a", &manifest(Class::Routine, vec![plain(&bytes)]), &[&bytes]).await;
        let look = async || {
            let mut tx = lab.store.read().await.unwrap();
            (clocks(&mut tx).await.unwrap(), damaged_rows(&mut tx).await)
        };
        let (clock, rows) = look().await;
        assert_eq!((clock.0, rows.unwrap().0), (Outcome::Ok, Outcome::Ok));
        lab.execute("UPDATE clinic SET clock_offset_ms = 3600000").await;
        lab.execute("UPDATE study SET class = 'bogus'").await;
        let (clock, rows) = look().await;
        assert_eq!(clock, (Outcome::Warning, "off: a -3600 s: set the agent's clock".to_owned()));
        let rows = rows.unwrap_err();
        assert!(rows.contains("table study, row 1, column class"), "{rows}");
    }
}
