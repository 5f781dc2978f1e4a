//! `enrol`: a one-time code becomes a certificate for a key that never leaves this machine.

use super::{At, eprint_line, out_line};
use crate::config::{Config, Gateway};
use crate::home::Home;
use crate::spool::owner_of;
use crate::trust::{adopt, enrolled_clinic, enrolment_key};
use anyhow::{Context as _, bail};
use base64::Engine as _;
use bytes::Bytes;
use clap::Args;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rand::SeedableRng as _;
use relay_certs::enrol::{AgentRequest, ENROL_PATH, EnrolReply, Invitation};
use relay_core::clock::Clock;
use relay_core::codes::Code;
use relay_core::ids::ClinicId;
use rustls_pki_types::ServerName;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The county answers within this time or not at all.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longest answer: two certificates and a revocation list.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Port of the link when nothing else is said.
const LINK_PORT: u16 = 7443;
/// Port of the county's page when the URL names none.
const HTTPS_PORT: u16 = 443;

#[derive(Debug, Args)]
pub(super) struct Enrol {
    #[command(flatten)]
    at: At,
    /// The county's HTTPS address, such as `https://relay.county.example:8443`.
    #[arg(long)]
    gateway_url: String,
    /// The invitation as the county gave it: `RELAY1-clinic-XXXX-…@fingerprint`. `-` reads it from standard input.
    #[arg(long)]
    code: String,
    /// `host:port` of the gateway's link (UDP), primary first; may be given twice. Default: the URL's host, port 7443.
    #[arg(long = "gateway")]
    gateways: Vec<String>,
}

/// The county's answer, and which key it is about.
struct Asked {
    request: AgentRequest,
    reply: EnrolReply,
    key: PathBuf,
}

struct Url {
    host: String,
    port: u16,
}

fn parse_url(text: &str) -> anyhow::Result<Url> {
    let rest = text
        .strip_prefix("https://")
        .with_context(|| format!("--gateway-url {text:?}：须以 https:// 开头，例如 https://relay.county.example:8443 / does not begin with https://"))?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (
            host,
            port.parse()
                .with_context(|| format!("--gateway-url：端口 {port:?} 不是1至65535的数字 / not a port"))?,
        ),
        _ => (authority, HTTPS_PORT),
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        bail!("--gateway-url {text:?}：缺少主机名 / names no host");
    }
    Ok(Url { host, port })
}

/// A home is of one clinic for ever: what waits in it would leave under another's name, and its reports would be refused.
/// Before the county is asked, so that the code is not used up.
async fn refuse_another_clinics_home(home: &Home, clinic: &ClinicId) -> anyhow::Result<()> {
    let certified = enrolled_clinic(home)?.map(|of| of.to_string());
    let owner = match certified {
        Some(owner) => Some(owner),
        None => owner_of(&home.spool()).await?,
    };
    match owner {
        Some(owner) if owner != clinic.as_str() => bail!(
            "本目录属于机构 {owner}，注册码属于机构 {clinic}：请核对注册码，或用 --home 指定另一目录 / this home is that of clinic {owner}, the code is for {clinic}: check the code, or name another --home"
        ),
        _ => Ok(()),
    }
}

impl Enrol {
    pub(super) async fn carry_out(self, clock: &dyn Clock) -> anyhow::Result<ExitCode> {
        let url = parse_url(&self.gateway_url)?;
        let code = if self.code == "-" {
            super::from_standard_input("注册码", "the code")?
        } else {
            self.code.clone()
        };
        let invitation = Invitation::parse(&code).map_err(|e| {
            anyhow::anyhow!(
                "--code：{}（{e}）。请向县级核对完整的注册码 / ask the county for the whole code",
                e.zh()
            )
        })?;
        let clinic = invitation.code.clinic().clone();
        let home = self.at.home();
        home.create()?;
        refuse_another_clinics_home(&home, &clinic).await?;
        let mut asked = self.ask(&url, &invitation, &home, false).await?;
        // The county knows this key by a certificate that it has revoked.
        if matches!(&asked.reply, EnrolReply::Refused { code, .. } if code == Code::KeyRevoked.name()) {
            eprint_line(
                "本机密钥的证书已被县级吊销，改用新密钥注册 / the county has revoked this key's certificate: a new key is made",
            );
            asked = self.ask(&url, &invitation, &home, true).await?;
        }
        let Asked { request, reply, key } = asked;
        let identity = request.accept(&reply, &invitation, clock.now()).map_err(|error| match error {
            relay_certs::enrol::EnrolReplyError::Refused { code, zh, en } => {
                anyhow::anyhow!("{code}: {zh}（{en}）")
            }
            other => anyhow::Error::new(other),
        })?;
        adopt(&home, &key, &identity.chain_pem())?;
        if let EnrolReply::Issued { crl, .. } = &reply
            && !crl.is_empty()
        {
            let der = base64::engine::general_purpose::STANDARD
                .decode(crl)
                .context("the county's revocation list")?;
            home.write(&home.crl(), &der)?;
        }
        self.write_config(&url)?;
        let end = identity.identity.not_after.to_rfc3339();
        eprint_line(&format!("注册成功：机构 {clinic}，证书有效期至 {end} / enrolled"));
        out_line(
            &serde_json::json!({ "clinic": clinic, "not_after": identity.identity.not_after }).to_string(),
        )?;
        Ok(ExitCode::SUCCESS)
    }

    /// One question, with the key stored before it: an answer that is lost can be asked for again.
    async fn ask(
        &self,
        url: &Url,
        invitation: &Invitation,
        home: &Home,
        renew: bool,
    ) -> anyhow::Result<Asked> {
        let (key, path) = enrolment_key(home, renew, &mut rand::rngs::StdRng::from_os_rng())?;
        let request = AgentRequest::for_key(invitation.code.clinic(), key)?;
        let body = serde_json::to_vec(&request.body(invitation))?;
        let tls = relay_certs::trust::enrolment_client_config(invitation.ca_fingerprint, &[b"http/1.1"])?;
        let reply = tokio::time::timeout(DEADLINE, post(url, tls, body))
            .await
            .context("县级在30秒内没有应答，请检查网络和 --gateway-url 后重试；注册码仍然有效 / the county did not answer in time: try again, the code is still good")??;
        Ok(Asked { request, reply, key: path })
    }

    /// A first configuration; one that is there is left alone.
    fn write_config(&self, url: &Url) -> anyhow::Result<()> {
        let home = self.at.home();
        if home.config().exists() {
            return Ok(());
        }
        let mut config = Config::default();
        let addresses = if self.gateways.is_empty() {
            vec![format!("{}:{LINK_PORT}", url.host)]
        } else {
            self.gateways.clone()
        };
        for address in addresses {
            let host =
                address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).trim_matches(['[', ']']);
            config.county.gateways.push(Gateway { name: host.to_owned(), address });
        }
        let text = config.to_toml();
        Config::parse(&home.config(), &text)?;
        home.write(&home.config(), text.as_bytes())?;
        Ok(())
    }
}

async fn post(url: &Url, tls: rustls::ClientConfig, body: Vec<u8>) -> anyhow::Result<EnrolReply> {
    let at = format!("{}:{}", url.host, url.port);
    let name =
        ServerName::try_from(url.host.clone()).with_context(|| format!("{:?} is no host name", url.host))?;
    let stream =
        tokio::net::TcpStream::connect((url.host.as_str(), url.port)).await.with_context(|| at.clone())?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, stream).await;
    let stream = stream.with_context(|| {
        format!("{at}: TLS（对方证书与注册码中的CA指纹不符？/ does its CA match the code?）")
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::post(ENROL_PATH)
        .header(header::HOST, &at)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(body))?;
    let response = sender.send_request(request).await.with_context(|| at.clone())?;
    let status = response.status();
    let answer = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let answer = answer.map_err(|e| anyhow::anyhow!("{at}: {e}"))?.to_bytes();
    driver.abort();
    serde_json::from_slice(&answer)
        .with_context(|| format!("{at}: {status}, and no answer of an enrolment desk"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_certs::testing::TestCounty;
    use relay_core::clock::UtcMs;

    #[test]
    fn urls_with_and_without_port_and_with_ipv6_are_read() {
        let read = |text| parse_url(text).map(|u| (u.host, u.port)).map_err(|e| e.to_string());
        assert_eq!(read("https://a.example"), Ok(("a.example".into(), 443)));
        assert_eq!(read("https://127.0.0.1:8443/"), Ok(("127.0.0.1".into(), 8443)));
        assert_eq!(read("https://[::1]:8443"), Ok(("::1".into(), 8443)));
        assert!(read("http://a.example").is_err());
        assert!(read("https://:1").is_err());
    }

    fn id(clinic: &str) -> ClinicId {
        ClinicId::parse(clinic).unwrap()
    }

    #[tokio::test]
    async fn a_home_with_another_clinics_certificate_or_spool_is_refused_before_the_code_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        home.create().unwrap();
        refuse_another_clinics_home(&home, &id("xizhen")).await.unwrap();
        let options = crate::spool::SpoolOptions {
            dir: home.spool(),
            clinic: id("shilipu"),
            limits: crate::spool::SpoolLimits { max_unreceipted_bytes: 1 << 40, free_floor_bytes: 0 },
            quiet: crate::config::QuietSeconds::default(),
        };
        let disk = Arc::new(relay_core::durable::RealDisk);
        let clock = Arc::new(relay_core::clock::ManualClock::at(UtcMs(1_790_000_000_000)));
        let open = |options| crate::spool::Spool::open(options, disk.clone(), clock.clone());
        let spool = open(options.clone()).await.unwrap();
        for (clinic, lawful) in [("shilipu", true), ("xizhen", false)] {
            let answer = refuse_another_clinics_home(&home, &id(clinic)).await;
            assert_eq!(answer.is_ok(), lawful, "{clinic}: {answer:?}");
        }
        spool.close().await;
        drop(spool);
        let refused = open(crate::spool::SpoolOptions { clinic: id("xizhen"), ..options }).await.unwrap_err();
        assert!(matches!(refused, crate::spool::SpoolError::OtherClinic { .. }), "{refused}");
        // A certificate alone says whose home it is, too.
        let home = Home::at(dir.path().join("other"));
        home.create().unwrap();
        let mut county = TestCounty::new(&dir.path().join("ca"), 3, UtcMs(1_790_000_000_000));
        let identity = county.agent("shilipu");
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            base64::engine::general_purpose::STANDARD.encode(&identity.chain[0])
        );
        home.write(&home.chain(), pem.as_bytes()).unwrap();
        refuse_another_clinics_home(&home, &id("shilipu")).await.unwrap();
        let said = refuse_another_clinics_home(&home, &id("xizhen")).await.unwrap_err().to_string();
        assert!(said.contains("shilipu") && said.contains("xizhen"), "{said}");
    }
}
