//! `relay-certs`: the county CA on the command line. Works beside a running gateway: both take the directory's lock,
//! and the gateway follows the revocation list.
//!
//! Secrets never come from the command line (PINs by file or standard input) and never go to a log. Exit codes: 0 done,
//! 1 refused, 2 wrong usage, 3 the directory or a file failed.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use relay_certs::authority::{
    Authority, AuthorityError, CA_VALID_DAYS, CertificateRecord, DOCTOR_VALID_DAYS, Doctor, RevocationReason,
    RevokeTarget, SERVER_VALID_DAYS, Validity,
};
use relay_certs::certificate::DoctorRole;
use relay_certs::enrol::{EnrolDesk, MAX_CODE_VALID_MS};
use relay_certs::signing::{Pkcs12Error, to_pkcs12};
use relay_core::clock::{Clock as _, HOUR_MS, SystemClock, UtcMs};
use relay_core::durable::{RealDisk, write_atomic};
use relay_core::ids::{ClinicId, PersonId};
use zeroize::Zeroizing;

const EXIT_REFUSED: u8 = 1;
const EXIT_FAILED: u8 = 3;
/// Most bytes of a PIN file.
const MAX_PIN_FILE_BYTES: u64 = 1024;

#[derive(Debug, Parser)]
#[command(
    name = "relay-certs",
    version,
    about = "县级CA：签发、注册码、吊销 / county CA: issue, enrol, revoke"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Dir {
    /// CA目录 / directory of the CA
    #[arg(long, env = "RELAY_CA_DIR")]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// 新建县级CA / make a county CA
    Init {
        #[command(flatten)]
        dir: Dir,
        /// 县名 / name of the county
        #[arg(long)]
        county: String,
    },
    /// 签发网关证书（主用或备用） / certificate and key for a gateway (primary or standby)
    Server {
        #[command(flatten)]
        dir: Dir,
        /// 域名或IP，可多次 / DNS name or IP address, may be repeated
        #[arg(long = "name", required = true)]
        names: Vec<String>,
        /// 证书链输出文件 / chain file to write
        #[arg(long)]
        cert: PathBuf,
        /// 私钥输出文件（0600） / key file to write (0600)
        #[arg(long)]
        key: PathBuf,
    },
    /// 签发医师演示证书（PKCS#12） / doctor's demonstration certificate as PKCS#12
    Doctor {
        #[command(flatten)]
        dir: Dir,
        /// 工号（小写字母、数字、-、_） / employee id (lower case, digits, -, _)
        #[arg(long)]
        id: String,
        /// 姓名 / name as on reports
        #[arg(long)]
        name: String,
        /// 角色 / role
        #[arg(long, value_enum)]
        role: RoleArg,
        /// PIN文件，- 为标准输入 / file with the PIN, - for standard input
        #[arg(long)]
        pin_file: PathBuf,
        /// 输出文件（0600） / file to write (0600)
        #[arg(long)]
        out: PathBuf,
    },
    /// 生成机构一次性注册码 / one-time enrolment code for a clinic
    Code {
        #[command(flatten)]
        dir: Dir,
        /// 机构标识 / clinic id
        #[arg(long)]
        clinic: String,
        /// 有效小时数 / hours it is valid
        #[arg(long, default_value_t = 72)]
        hours: i64,
        /// 仅输出JSON / JSON only
        #[arg(long)]
        json: bool,
    },
    /// 吊销证书 / revoke certificates
    Revoke {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        target: Target,
        /// 原因 / reason
        #[arg(long, value_enum, default_value_t = ReasonArg::Unspecified)]
        reason: ReasonArg,
    },
    /// 列出证书 / list certificates
    List {
        #[command(flatten)]
        dir: Dir,
        /// 输出JSON / as JSON
        #[arg(long)]
        json: bool,
    },
    /// 更新并导出吊销列表 / renew and export the revocation list
    Crl {
        #[command(flatten)]
        dir: Dir,
        /// 未到期也更新 / renew even when it is fresh
        #[arg(long)]
        force: bool,
        /// DER输出文件 / DER file to write
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// 证书序列号 / serial number
    #[arg(long)]
    serial: Option<String>,
    /// 机构的全部证书及未用注册码 / all certificates and unused codes of a clinic
    #[arg(long)]
    clinic: Option<String>,
    /// 医师的全部证书 / all certificates of a doctor
    #[arg(long)]
    doctor: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    Reader,
    Reviewer,
    Clinician,
}

impl From<RoleArg> for DoctorRole {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Reader => Self::Reader,
            RoleArg::Reviewer => Self::Reviewer,
            RoleArg::Clinician => Self::Clinician,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ReasonArg {
    Unspecified,
    KeyCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
}

impl From<ReasonArg> for RevocationReason {
    fn from(reason: ReasonArg) -> Self {
        match reason {
            ReasonArg::Unspecified => Self::Unspecified,
            ReasonArg::KeyCompromise => Self::KeyCompromise,
            ReasonArg::AffiliationChanged => Self::AffiliationChanged,
            ReasonArg::Superseded => Self::Superseded,
            ReasonArg::CessationOfOperation => Self::CessationOfOperation,
        }
    }
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RELAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Tells people what went wrong, in both languages, and chooses the exit code.
fn report(error: &anyhow::Error) -> ExitCode {
    let code = error.downcast_ref::<AuthorityError>().map(AuthorityError::code);
    let zh = match (code, error.downcast_ref::<Pkcs12Error>()) {
        (Some(code), _) => code.zh(),
        (None, Some(pin)) => pin.zh(),
        (None, None) => "操作未完成",
    };
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "错误：{zh}\nerror: {error:#}");
    use relay_core::codes::Code;
    match code {
        Some(Code::StorageFailed | Code::Internal | Code::Busy) => ExitCode::from(EXIT_FAILED),
        None if error.downcast_ref::<std::io::Error>().is_some() => ExitCode::from(EXIT_FAILED),
        _ => ExitCode::from(EXIT_REFUSED),
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}

fn run(command: Command) -> anyhow::Result<()> {
    let (now, mut rng) = (SystemClock.now(), StdRng::from_os_rng());
    match command {
        Command::Init { dir, county } => init(&dir.dir, &county, now, &mut rng),
        Command::Server { dir, names, cert, key } => {
            let issued = Authority::open(&dir.dir)?.issue_server(
                &names,
                Validity::days(now, SERVER_VALID_DAYS),
                now,
                &mut rng,
            )?;
            issued.key.save(&key)?;
            write(&cert, issued.certificate.chain_pem().as_bytes(), 0o644)?;
            let serial = &issued.certificate.serial;
            say(&format!("已签发网关证书，序列号 {serial}\nissued a gateway certificate, serial {serial}"))
        }
        Command::Doctor { dir, id, name, role, pin_file, out } => {
            let doctor = Doctor { person: PersonId::parse(&id)?, name, role: role.into() };
            issue_doctor(&dir.dir, &doctor, &pin_file, &out, now, &mut rng)
        }
        Command::Code { dir, clinic, hours, json } => code(&dir.dir, &clinic, hours, json, now, &mut rng),
        Command::Revoke { dir, target, reason } => revoke(&dir.dir, &target, reason.into(), now),
        Command::List { dir, json } => list(&Authority::open(&dir.dir)?.certificates()?, json, now),
        Command::Crl { dir, force, out } => crl(&dir.dir, force, out.as_deref(), now),
    }
}

fn init(dir: &Path, county: &str, now: UtcMs, rng: &mut StdRng) -> anyhow::Result<()> {
    let authority = Authority::create(dir, county, Validity::days(now, CA_VALID_DAYS), now, rng)?;
    let fingerprint = authority.ca_fingerprint();
    say(&format!(
        "已建立县级CA：{county}\nCA指纹 SHA-256 {fingerprint}\n请将 {dir} 离线备份，私钥 ca.key 不得外传。\n\
         made the county CA; keep an off-line copy of {dir}, and never hand out ca.key",
        dir = dir.display()
    ))
}

fn issue_doctor(
    dir: &Path,
    doctor: &Doctor,
    pin_file: &Path,
    out: &Path,
    now: UtcMs,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    let pin = read_pin(pin_file)?;
    // The PIN is checked before the ledger is touched.
    let chars = pin.chars().count();
    if !(relay_certs::signing::MIN_PIN_CHARS..=relay_certs::signing::MAX_PIN_CHARS).contains(&chars) {
        return Err(Pkcs12Error::PinLength(chars).into());
    }
    let authority = Authority::open(dir)?;
    let issued = authority.issue_demo_doctor(doctor, Validity::days(now, DOCTOR_VALID_DAYS), now, rng)?;
    write(out, &to_pkcs12(&issued, &pin)?, 0o600)?;
    let (person, serial) = (&doctor.person, &issued.certificate.serial);
    say(&format!(
        "已签发医师证书（演示签名·非第三方CA）：{person}，序列号 {serial}\n\
         issued a doctor's demonstration certificate for {person}, serial {serial}"
    ))
}

fn code(
    dir: &Path,
    clinic: &str,
    hours: i64,
    json: bool,
    now: UtcMs,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    let clinic = ClinicId::parse(clinic)?;
    let valid_for_ms = hours.saturating_mul(HOUR_MS);
    if !(1..=MAX_CODE_VALID_MS).contains(&valid_for_ms) {
        bail!("--hours {hours}: 1 to {} are lawful", MAX_CODE_VALID_MS / HOUR_MS);
    }
    let desk = EnrolDesk::new(Arc::new(Authority::open(dir)?));
    let invitation = desk.issue_code(&clinic, valid_for_ms, now, rng)?;
    let expires = now.plus_ms(valid_for_ms).to_rfc3339();
    if json {
        let value = serde_json::json!({
            "clinic": clinic, "code": *invitation.code.reveal(), "invitation": *invitation.reveal(),
            "ca_sha256": invitation.ca_fingerprint, "expires_at": expires,
        });
        return say(&value.to_string());
    }
    say(&format!(
        "注册码（仅用一次，{expires} 前有效）/ one-time code, valid until {expires}:\n  {}\n\
         CA指纹 / CA fingerprint (SHA-256):\n  {}\n整行复制 / to copy as one line:\n  {}",
        invitation.code.reveal().as_str(),
        invitation.spoken_fingerprint(),
        invitation.reveal().as_str()
    ))
}

fn revoke(dir: &Path, target: &Target, reason: RevocationReason, now: UtcMs) -> anyhow::Result<()> {
    let target = match (&target.serial, &target.clinic, &target.doctor) {
        (Some(serial), _, _) => RevokeTarget::Serial(serial.parse()?),
        (_, Some(clinic), _) => RevokeTarget::Clinic(ClinicId::parse(clinic)?),
        (_, _, Some(doctor)) => RevokeTarget::Doctor(PersonId::parse(doctor)?),
        _ => bail!("--serial, --clinic or --doctor is needed"),
    };
    let serials = Authority::open(dir)?.revoke(&target, reason, now)?;
    let count = serials.len();
    say(&format!("已吊销 {count} 张证书 / revoked {count} certificates"))?;
    serials.iter().try_for_each(|serial| say(&format!("  {serial}")))
}

fn list(records: &[CertificateRecord], json: bool, now: UtcMs) -> anyhow::Result<()> {
    if json {
        return say(&serde_json::to_string(records)?);
    }
    say("序列号/serial                     状态/state  到期/ends                 主体/subject")?;
    for record in records {
        let state = match &record.revoked {
            Some(_) => "吊销/revoked",
            None if record.not_after < now => "过期/expired",
            None => "有效/valid",
        };
        say(&format!("{}  {state}  {}  {}", record.serial, record.not_after.to_rfc3339(), record.subject))?;
    }
    Ok(())
}

fn crl(dir: &Path, force: bool, out: Option<&Path>, now: UtcMs) -> anyhow::Result<()> {
    let authority = Authority::open(dir)?;
    let renewed = authority.renew_crl(force, now)?;
    if let Some(out) = out {
        write(out, &authority.crl_der()?, 0o644)?;
    }
    say(if renewed {
        "吊销列表已更新 / the revocation list is renewed"
    } else {
        "吊销列表仍然有效 / the revocation list is still fresh"
    })
}

fn read_pin(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut pin = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin()
            .take(MAX_PIN_FILE_BYTES)
            .read_to_string(&mut pin)
            .context("PIN on standard input")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("PIN file {}", file.display()))?;
        opened.take(MAX_PIN_FILE_BYTES).read_to_string(&mut pin).context("PIN file")?;
    }
    Ok(Zeroizing::new(pin.trim_end_matches(['\r', '\n']).to_owned()))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let path = if path.parent().is_some_and(|p| p.as_os_str().is_empty()) {
        Path::new(".").join(path)
    } else {
        path.to_owned()
    };
    write_atomic(&RealDisk, &path, bytes, mode).with_context(|| path.display().to_string())
}
