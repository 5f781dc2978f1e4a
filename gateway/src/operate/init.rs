//! A new home: CA, server certificate, configuration, database.

use super::open_store;
use crate::audit::{self, Entry};
use crate::config::{CONFIG_FILE, Config, template};
use crate::home::{Home, TLS_DIR};
use anyhow::Context as _;
use rand::CryptoRng;
use relay_certs::authority::{Authority, CA_VALID_DAYS, SERVER_VALID_DAYS, Validity};
use relay_core::clock::UtcMs;
use relay_core::durable::{Disk as _, RealDisk, write_atomic};
use std::net::SocketAddr;

/// What a new county is called and where it listens.
#[derive(Debug, Clone)]
pub struct NewCounty {
    /// Short id, part of report numbers.
    pub id: String,
    /// County in words, in the CA certificate.
    pub county: String,
    /// Hospital as printed on reports.
    pub hospital: String,
    /// DNS names and IP addresses under which agents and browsers reach the gateway.
    pub names: Vec<String>,
    /// UDP address of the link.
    pub link: SocketAddr,
    /// TCP address of the pages.
    pub web: SocketAddr,
    /// TCP address of the figures.
    pub metrics: SocketAddr,
}

/// Makes a home. Nothing that is there is overwritten.
///
/// # Errors
/// Naming what failed; a half-made home can be removed and made again.
pub async fn init(
    home: &Home,
    new: &NewCounty,
    now: UtcMs,
    rng: &mut (dyn CryptoRng + Send),
) -> anyhow::Result<()> {
    let config = home.path().join(CONFIG_FILE);
    anyhow::ensure!(!config.exists(), "{} exists: this home is made already", config.display());
    let text = template(&new.id, &new.hospital, new.link, new.web, new.metrics);
    Config::parse(&text).map_err(|reason| anyhow::anyhow!("{reason}"))?;
    for dir in [home.path().to_owned(), home.path().join(TLS_DIR), home.signers()] {
        RealDisk.create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    let authority = Authority::create(&home.ca(), &new.county, Validity::days(now, CA_VALID_DAYS), now, rng)
        .context("the county CA")?;
    server_certificate(home, &authority, &new.names, now, rng)?;
    write_atomic(&RealDisk, &config, text.as_bytes(), 0o600)
        .with_context(|| format!("writing {}", config.display()))?;
    let store = open_store(home).await?;
    let entry = Entry {
        at: now,
        who: "operator".into(),
        action: "county.init".into(),
        subject: new.id.clone(),
        allowed: true,
        detail: authority.ca_fingerprint().to_hex(),
    };
    audit::record(&store, entry).await?;
    store.close().await;
    Ok(())
}

/// Issues the gateway's own certificate; a running gateway takes it within a second.
///
/// # Errors
/// Naming what failed.
pub fn server_certificate(
    home: &Home,
    authority: &Authority,
    names: &[String],
    now: UtcMs,
    rng: &mut dyn CryptoRng,
) -> anyhow::Result<()> {
    let issued = authority
        .issue_server(names, Validity::days(now, SERVER_VALID_DAYS), now, rng)
        .context("the gateway's certificate")?;
    issued.key.save(&home.server_key()).context("saving the gateway's key")?;
    write_atomic(&RealDisk, &home.server_chain(), issued.certificate.chain_pem().as_bytes(), 0o644)
        .context("saving the gateway's certificate")
}
