//! `relay-gateway`: the county's gateway and its operator's commands.
//!
//! Secrets come from standard input, never from the command line. Exit codes: 0 done, 1 refused or a fault was found,
//! 2 wrong usage, 130 stopped by a second signal.

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use relay_core::clock::{Clock as _, DAY_MS, HOUR_MS, MINUTE_MS, SystemClock, UtcMs};
use relay_core::ids::{ClinicId, LetterId, PersonId, StudyUid};
use relay_core::study::Kind;
use relay_gateway::config::{Config, LogSection};
use relay_gateway::home::Home;
use relay_gateway::lifecycle::{Signals, Stages, lock_home};
use relay_gateway::operate::{self, backup, doctor, export, init, open_store, people, verify};
use relay_gateway::store::Store;
use relay_gateway::{audit, returns, run, telemetry};
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use viewer_api::auth::OsEntropy;
use viewer_api::desk::Role;
use zeroize::Zeroizing;

/// Makes the linker take `malloc` and all its kin from jemalloc, for C libraries and Rust alike: docs/decisions says why.
#[cfg(not(target_env = "msvc"))]
#[used]
static MALLOC: unsafe extern "C" fn(usize) -> *mut std::ffi::c_void = tikv_jemalloc_sys::malloc;

const EXIT_FAULT: u8 = 1;
const EXIT_STOPPED: u8 = 130;
/// Longest secret line on standard input, in bytes.
const MAX_SECRET_BYTES: usize = 1024;
/// Letters listed at most: more than a person reads.
const MAX_LETTERS_LISTED: i64 = 1_000;
/// Time that blocking work may go on after the end.
const LAST_GRACE: Duration = Duration::from_millis(500);

#[derive(Debug, Parser)]
#[command(name = "relay-gateway", version, about = "县级网关 / county gateway")]
struct Cli {
    /// 网关目录 / home directory of the gateway
    #[arg(long, env = "RELAY_GATEWAY_HOME", global = true, default_value = ".")]
    home: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Init {
    /// 编号，用于报告号 / short id, part of report numbers
    #[arg(long, default_value = "county")]
    id: String,
    /// 县名 / county, in the CA certificate
    #[arg(long)]
    county: String,
    /// 医院名称，印在报告上 / hospital, printed on reports
    #[arg(long)]
    hospital: String,
    /// 域名或IP，可多次 / DNS name or IP address of the gateway; repeat
    #[arg(long = "name", required = true)]
    names: Vec<String>,
    /// QUIC（UDP）监听地址 / listener for agents
    #[arg(long, default_value = "0.0.0.0:7443")]
    link: SocketAddr,
    /// HTTPS监听地址 / listener for people
    #[arg(long, default_value = "0.0.0.0:8443")]
    web: SocketAddr,
    /// 指标监听地址 / listener for Prometheus
    #[arg(long, default_value = "127.0.0.1:9464")]
    metrics: SocketAddr,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// 运行网关 / run the gateway
    Run,
    /// 新建网关目录和县级CA / make a home with a county CA
    Init(Init),
    /// 更换服务器证书 / issue a new server certificate
    Certificate {
        /// 域名或IP，可多次 / DNS name or IP address; repeat
        #[arg(long = "name", required = true)]
        names: Vec<String>,
    },
    /// 机构 / clinics
    #[command(subcommand)]
    Clinic(Clinic),
    /// 账号 / accounts
    #[command(subcommand)]
    Account(Account),
    /// 未送达的报告与危急值 / letters that do not get through
    #[command(subcommand)]
    Letter(Letter),
    /// 检查 / look for what is wrong
    Doctor {
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// 导出一次检查的原始文件 / export the original files of a study
    ExportStudy {
        /// StudyInstanceUID
        uid: String,
        /// 目标空目录 / empty directory
        #[arg(long)]
        to: PathBuf,
        /// 机构 / clinic, when several have this UID
        #[arg(long)]
        clinic: Option<String>,
    },
    /// 校验所有存储内容 / prove everything that is stored
    VerifyStore {
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// 审计日志 / audit log
    #[command(subcommand)]
    Audit(Audit),
    /// 备份（可在运行时） / back up, while running
    Backup {
        /// 空目录 / empty directory
        dir: PathBuf,
        /// 硬链接而非复制 / hard links instead of copies
        #[arg(long)]
        link: bool,
    },
    /// 从备份建立新的网关目录（--home） / make the home named by --home from a backup
    Restore {
        /// 备份目录 / the backup
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Clinic {
    /// 登记机构并生成一次性注册码 / list a clinic and print a one-time enrolment code
    Add {
        /// 机构编号 / clinic id
        id: String,
        /// 名称 / name
        #[arg(long)]
        name: String,
        /// 值班电话 / duty telephone shown there
        #[arg(long)]
        phone: Option<String>,
        /// 开放时间 JSON / opening hours as JSON
        #[arg(long)]
        hours: Option<String>,
        /// 注册码有效小时数，0 = 不生成 / hours the code is valid, 0 = no code
        #[arg(long, default_value_t = 72)]
        code_hours: i64,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// 修改机构的名称、电话、开放时间、代码；未写的不变 / change a clinic; what is not named stays
    Set(ClinicSet),
}

#[derive(Debug, Args)]
struct ClinicSet {
    /// 机构编号 / clinic id
    id: String,
    /// 名称 / name
    #[arg(long)]
    name: Option<String>,
    /// 值班电话 / duty telephone shown there
    #[arg(long)]
    phone: Option<String>,
    /// 开放时间 JSON，{} = 同县级值班表 / opening hours as JSON, {} = the county's duty calendar
    #[arg(long)]
    hours: Option<String>,
    /// 组织机构代码，打印在报告上 / organisation code, printed on reports
    #[arg(long)]
    organization_code: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Account {
    /// 新建账号；标准输入第一行密码，第二行签名PIN / make an account; stdin: password, then signing PIN
    Add {
        /// 工号 / employee id
        id: String,
        /// 姓名 / name
        #[arg(long)]
        name: String,
        /// 角色，可多次 / role; repeat
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
        /// 所服务的机构，可多次 / clinic served; repeat
        #[arg(long = "clinic")]
        clinics: Vec<String>,
        /// 阅读的种类，可多次 / kind read (xray, ecg, consult, other); repeat
        #[arg(long = "kind")]
        kinds: Vec<String>,
    },
    /// 设置所服务的机构 / set the clinics served
    Clinics {
        /// 工号 / employee id
        id: String,
        /// 机构，可多次 / clinic; repeat
        #[arg(long = "clinic")]
        clinics: Vec<String>,
    },
    /// 设置执业证书编号，打印在签名处 / set the licence number, printed under signatures
    License {
        /// 工号 / employee id
        id: String,
        /// 编号 / number
        number: String,
    },
    /// 停用账号 / close an account
    Disable {
        /// 工号 / employee id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum Letter {
    /// 列出被拒收或未能送达的 / list what was refused or did not get through
    List {
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// 立即重新发送；不写编号 = 全部 / offer again at once; without an id all of them
    OfferAgain {
        /// 编号，见 letter list / id, from letter list
        id: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// 校验哈希链 / verify the chain
    Verify {
        /// JSON
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()),
    };
    let result = runtime.block_on(command(cli));
    runtime.shutdown_timeout(LAST_GRACE);
    result.unwrap_or_else(|error| report(&error))
}

fn report(error: &anyhow::Error) -> ExitCode {
    // Standard error may be closed; then nobody reads this.
    let _ = writeln!(std::io::stderr(), "relay-gateway: {error:#}");
    ExitCode::from(EXIT_FAULT)
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("writing to standard output")
}

fn say_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// One line of standard input, without its end.
fn secret(what: &str) -> anyhow::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .with_context(|| format!("reading the {what} from standard input"))?;
    anyhow::ensure!(line.len() <= MAX_SECRET_BYTES, "the {what} is longer than {MAX_SECRET_BYTES} bytes");
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn clinics(texts: &[String]) -> anyhow::Result<Vec<ClinicId>> {
    texts
        .iter()
        .map(|text| ClinicId::parse(text).with_context(|| format!("field clinic: {text:?}")))
        .collect()
}

fn roles(texts: &[String]) -> anyhow::Result<Vec<Role>> {
    let parse = |text: &String| {
        serde_json::from_value(serde_json::Value::String(text.clone())).with_context(|| {
            format!(
                "field role: {text:?} is none of radiographer, reader, reviewer, clinician, administrator, \
                 security_auditor, monitor"
            )
        })
    };
    texts.iter().map(parse).collect()
}

fn kinds(texts: &[String]) -> anyhow::Result<Vec<Kind>> {
    texts.iter().map(|text| text.parse().map_err(|e| anyhow::anyhow!("field kind: {e}"))).collect()
}

async fn command(cli: Cli) -> anyhow::Result<ExitCode> {
    let home = Home(std::path::absolute(&cli.home).context("the home directory")?);
    let now = SystemClock.now();
    let mut rng = StdRng::from_os_rng();
    if !matches!(cli.command, Command::Run) {
        telemetry::start_logs(&LogSection { filter: "warn".to_owned(), json: false })?;
    }
    match cli.command {
        Command::Run => return run_gateway(home).await,
        Command::Init(new) => {
            let Init { id, county, hospital, names, link, web, metrics } = new;
            let new = init::NewCounty { id, county, hospital, names, link, web, metrics };
            init::init(&home, &new, now, &mut rng).await?;
            say(&format!("{}: 已建立 / made", home.path().display()))?;
        }
        Command::Certificate { names } => {
            let authority = relay_certs::authority::Authority::open(&home.ca())?;
            init::server_certificate(&home, &authority, &names, now, &mut rng)?;
            say("已更换 / replaced")?;
        }
        Command::Clinic(command) => clinic(&home, command, &mut rng).await?,
        Command::Account(command) => account(&home, command, &mut rng).await?,
        Command::Letter(command) => letter(&home, command).await?,
        Command::Doctor { json } => return examine(&home, json).await,
        Command::ExportStudy { uid, to, clinic } => {
            let store = open_store(&home).await?;
            let clinic = clinic.as_deref().map(ClinicId::parse).transpose()?;
            let done = export::export_study(&store, &StudyUid::parse(&uid)?, clinic.as_ref(), &to).await;
            store.close().await;
            let done = done?;
            say_json(&done)?;
            return Ok(whole(done.missing.is_empty()));
        }
        Command::VerifyStore { json } => return verify_store(&home, json).await,
        Command::Audit(Audit::Verify { json }) => return verify_audit(&home, json).await,
        Command::Backup { dir, link } => {
            let store = open_store(&home).await?;
            let how = if link { backup::Blobs::Link } else { backup::Blobs::Copy };
            let done = backup::backup(&home, &store, &std::path::absolute(dir)?, how, now).await;
            store.close().await;
            let seal = done?;
            say_json(&seal)?;
            return Ok(whole(seal.faults.is_empty()));
        }
        Command::Restore { dir } => {
            let restored = backup::restore(&dir, &home, now).await?;
            say_json(&restored)?;
            return Ok(whole(restored.faults.is_empty()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was done is done; a fault that it lists must not go unnoticed by the script that asked for it.
fn whole(whole: bool) -> ExitCode {
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run_gateway(home: Home) -> anyhow::Result<ExitCode> {
    let config = Config::load(home.path())?;
    telemetry::start_logs(&config.log).context("field log.filter")?;
    let Some(_lock) = lock_home(home.path()).context("taking gateway.lock")? else {
        anyhow::bail!("another gateway runs on {}", home.path().display());
    };
    let metrics = telemetry::start_metrics().context("starting the figures")?;
    let stages = Stages::default();
    tokio::spawn(Signals::listen()?.drive(stages.clone()));
    run::run(home, config, Arc::new(SystemClock), Some(metrics), stages.clone()).await?;
    Ok(if stages.now.is_cancelled() { ExitCode::from(EXIT_STOPPED) } else { ExitCode::SUCCESS })
}

async fn letter(home: &Home, command: Letter) -> anyhow::Result<()> {
    let store = open_store(home).await?;
    let done = match command {
        Letter::List { json } => list_letters(&store, json).await,
        Letter::OfferAgain { id } => offer_again(&store, id.as_deref()).await,
    };
    store.close().await;
    done
}

async fn list_letters(store: &Store, json: bool) -> anyhow::Result<()> {
    let (mut tx, now) = (store.read().await?, SystemClock.now());
    let letters = returns::unreceived(&mut tx, MAX_LETTERS_LISTED).await?;
    if json {
        return say_json(&letters);
    }
    if letters.is_empty() {
        return say("全部已送达 / every letter has arrived");
    }
    for letter in letters {
        let how = match &letter.refused {
            Some(code) => code.as_str(),
            None if letter.delays > 0 => "未能送达 / not through",
            None => "等待送达 / waiting",
        };
        let age = now.since(letter.written_at).max(0) / MINUTE_MS;
        let (id, clinic, kind) = (letter.id, letter.clinic, letter.kind.zh());
        let again = letter.next_try_at.map_or_else(String::new, |at| at.to_rfc3339());
        let reason = letter.reason;
        say(&format!("{id}  {clinic}  {kind}  {how}  {age} 分钟 / min  {reason}  下次 / again {again}"))?;
    }
    say("立即重发 / offer again at once: relay-gateway letter offer-again [编号 / id]")
}

async fn offer_again(store: &Store, id: Option<&str>) -> anyhow::Result<()> {
    let (id, now) = (id.map(LetterId::parse).transpose()?, SystemClock.now());
    let count = store
        .write(move |tx| Box::pin(async move { returns::offer_again(tx, id.as_ref(), now).await }))
        .await?;
    say(&format!("{count} 件将在 30 秒内重新发送 / will be offered again within 30 seconds"))
}

async fn clinic(home: &Home, command: Clinic, rng: &mut StdRng) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let (id, name, phone, hours, code_hours, json) = match command {
        Clinic::Add { id, name, phone, hours, code_hours, json } => {
            (id, name, phone, hours, code_hours, json)
        }
        Clinic::Set(set) => return set_clinic(home, set, now).await,
    };
    let id = ClinicId::parse(&id)?;
    let store = open_store(home).await?;
    let new = people::NewClinic { id: id.clone(), name, duty_phone: phone, hours };
    let added = people::add_clinic(&store, new, now).await;
    store.close().await;
    added?;
    if code_hours == 0 {
        return if json {
            say_json(&serde_json::json!({ "clinic": id }))
        } else {
            say(&format!("{id}: 已登记 / listed"))
        };
    }
    let invitation =
        people::invite(home, &id, code_hours.saturating_mul(HOUR_MS).min(14 * DAY_MS), now, rng)?;
    let code = invitation.reveal();
    if json {
        return say_json(&serde_json::json!({
            "clinic": id, "code": code.as_str(), "ca_fingerprint": invitation.ca_fingerprint.to_hex(),
        }));
    }
    say(&format!(
        "{id}: 注册码（{code_hours}小时内有效，只用一次） / enrolment code, once, within {code_hours} h:\n{}",
        code.as_str()
    ))
}

async fn set_clinic(home: &Home, set: ClinicSet, now: UtcMs) -> anyhow::Result<()> {
    let change = people::ClinicChange {
        id: ClinicId::parse(&set.id)?,
        name: set.name,
        duty_phone: set.phone,
        hours: set.hours,
        organization_code: set.organization_code,
    };
    let store = open_store(home).await?;
    let done = people::change_clinic(&store, change, now).await;
    store.close().await;
    done?;
    say(&format!("{}: 已修改 / changed", set.id))
}

async fn account(home: &Home, command: Account, rng: &mut StdRng) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let store = open_store(home).await?;
    let result = match command {
        Account::Add { id, name, roles: r, clinics: c, kinds: k } => {
            let mut new = people::NewAccount {
                id: PersonId::parse(&id)?,
                name,
                roles: roles(&r)?,
                clinics: clinics(&c)?,
                kinds: kinds(&k)?,
                password: secret("password")?,
                pin: None,
            };
            if new.signs_as().is_some() {
                new.pin = Some(secret("signing PIN")?);
            }
            match people::add_account(home, &store, new, now, &OsEntropy, rng).await {
                Ok(added) => say_json(&added),
                Err(error) => Err(error),
            }
        }
        Account::Clinics { id, clinics: c } => {
            people::serve_clinics(&store, &PersonId::parse(&id)?, &clinics(&c)?, now).await
        }
        Account::License { id, number } => {
            people::set_license(&store, &PersonId::parse(&id)?, &number, now).await
        }
        Account::Disable { id } => people::disable_account(&store, &PersonId::parse(&id)?, now).await,
    };
    store.close().await;
    result
}

async fn examine(home: &Home, json: bool) -> anyhow::Result<ExitCode> {
    let checks = doctor::examine(home, &SystemClock).await;
    if json {
        say_json(&checks)?;
    } else {
        for check in &checks {
            let mark = match check.outcome {
                doctor::Outcome::Ok => "正常 ok     ",
                doctor::Outcome::Warning => "注意 warning",
                doctor::Outcome::Failed => "故障 FAILED ",
            };
            say(&format!("{mark}  {} {}: {}", check.zh, check.name, check.detail))?;
        }
    }
    let failed = checks.iter().any(|check| check.outcome == doctor::Outcome::Failed);
    Ok(if failed { ExitCode::from(EXIT_FAULT) } else { ExitCode::SUCCESS })
}

async fn verify_store(home: &Home, json: bool) -> anyhow::Result<ExitCode> {
    let store = open_store(home).await?;
    let trust = operate::trust(home);
    let report = verify::verify_store(&store, trust.as_ref(), SystemClock.now()).await;
    store.close().await;
    let report = report?;
    if json {
        say_json(&report)?;
    } else {
        say(&format!(
            "{} 个文件 {} 字节，{} 份信件，{} 个签发版本，审计 {} 条 / {} objects, {} bytes, {} papers, {} signed versions, {} audit entries, {} orphans",
            report.objects,
            report.bytes,
            report.papers,
            report.versions,
            report.audit_entries,
            report.objects,
            report.bytes,
            report.papers,
            report.versions,
            report.audit_entries,
            report.orphans
        ))?;
        for fault in &report.faults {
            say(&format!("故障 / fault: {} {}: {}", fault.table, fault.row, fault.reason))?;
        }
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAULT) })
}

async fn verify_audit(home: &Home, json: bool) -> anyhow::Result<ExitCode> {
    let store = open_store(home).await?;
    let found = match store.read().await {
        Ok(mut tx) => audit::verify(&mut tx).await,
        Err(error) => Err(error),
    };
    store.close().await;
    let found = found?;
    if json {
        say_json(&found)?;
    } else {
        match &found.broken {
            None => {
                say(&format!("审计链完整 / the chain holds: {} entries, head {}", found.entries, found.head))?
            }
            Some(broken) => say(&format!(
                "审计链在第 {} 条断开 / broken at entry {}: {}",
                broken.seq, broken.seq, broken.reason
            ))?,
        }
    }
    Ok(if found.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAULT) })
}
