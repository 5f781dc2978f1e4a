//! The gateway's certificate and whom it trusts, followed while it runs: a revocation on the command line is honoured
//! within [`POLL`], on new and on live connections; a renewed server certificate is taken without a restart.

use crate::home::Home;
use crate::link::{LinkHandle, Revoked};
use anyhow::Context as _;
use relay_certs::authority::{Authority, CRL_FILE};
use relay_certs::trust::{RevocationWatch, TlsIdentity, gateway_server_config, viewer_server_config};
use relay_core::clock::{Clock, HOUR_MS, UtcMs};
use relay_core::link::ALPN;
use rustls::ServerConfig;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the revocation list is looked at.
pub const POLL: Duration = Duration::from_secs(1);
/// How often the list's own age is looked at.
const RENEW_EVERY_MS: i64 = HOUR_MS;

/// Certificate, CA and revocations.
#[derive(Debug)]
pub struct Trust {
    home: Home,
    authority: Arc<Authority>,
    identity: TlsIdentity,
    list: RevocationWatch,
    revoked: watch::Sender<Revoked>,
    web: watch::Sender<Arc<ServerConfig>>,
}

fn web_config(identity: &TlsIdentity) -> anyhow::Result<Arc<ServerConfig>> {
    let protocols = viewer_api::serve::alpn();
    let protocols: Vec<&[u8]> = protocols.iter().map(Vec::as_slice).collect();
    Ok(Arc::new(viewer_server_config(identity, &protocols)?))
}

impl Trust {
    /// Reads certificate, key, CA and revocation list of a home.
    ///
    /// # Errors
    /// Naming the file.
    pub fn open(home: &Home, authority: Arc<Authority>) -> anyhow::Result<Self> {
        let identity = TlsIdentity::load(&home.server_chain(), &home.server_key())
            .context("the gateway's certificate")?;
        let list = RevocationWatch::open(&home.ca().join(CRL_FILE), authority.ca_certificate().clone())
            .context("the revocation list")?;
        // What is on the list now is refused by TLS; only what comes later can be on a live connection.
        let (revoked, _) = watch::channel(Revoked::default());
        let (web, _) = watch::channel(web_config(&identity)?);
        Ok(Self { home: home.clone(), authority, identity, list, revoked, web })
    }

    /// The link's TLS configuration as of now.
    ///
    /// # Errors
    /// When rustls refuses the parts.
    pub fn link_config(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let (ca, crl) = (self.authority.ca_certificate(), self.list.list().der());
        Ok(Arc::new(gateway_server_config(&self.identity, ca, crl, &[ALPN])?))
    }

    /// The pages' TLS configuration, and every later one.
    #[must_use]
    pub fn web_config(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.web.subscribe()
    }

    /// Serials that may no longer be used.
    #[must_use]
    pub fn revoked(&self) -> watch::Receiver<Revoked> {
        self.revoked.subscribe()
    }

    /// Follows list and certificate until `stop`.
    pub async fn watch(mut self, link: LinkHandle, clock: Arc<dyn Clock>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(POLL);
        let mut renewed_at: Option<UtcMs> = None;
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let now = clock.now();
            if renewed_at.is_none_or(|at| now.since(at).abs() >= RENEW_EVERY_MS) {
                renewed_at = Some(now);
                let authority = Arc::clone(&self.authority);
                match tokio::task::spawn_blocking(move || authority.renew_crl(false, now)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "renewing the revocation list"
                    ),
                    Err(error) => tracing::error!(%error, "renewing the revocation list"),
                }
            }
            match self.step(&link) {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(error = format!("{error:#}"), "the trust in force stays as it was");
                }
                Err(_) => {}
            }
        }
    }

    /// One look. Small files; runs on the async thread.
    fn step(&mut self, link: &LinkHandle) -> anyhow::Result<()> {
        let newly = self.list.poll().context("the revocation list")?;
        let fresh = TlsIdentity::load(&self.home.server_chain(), &self.home.server_key())
            .context("the gateway's certificate")?;
        let renewed = fresh.chain != self.identity.chain;
        if renewed {
            self.identity = fresh;
            self.web.send_replace(web_config(&self.identity)?);
            tracing::info!("the gateway's certificate was renewed");
        }
        if newly.is_some() || renewed {
            link.set_tls(&self.link_config()?)?;
        }
        if let Some(serials) = newly {
            tracing::warn!(count = serials.len(), number = self.list.list().number(), "new revocation list");
            let all: BTreeSet<_> = self.revoked.borrow().iter().cloned().chain(serials).collect();
            self.revoked.send_replace(Arc::new(all));
        }
        Ok(())
    }
}
