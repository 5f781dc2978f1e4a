//! The gateway's certificate and whom it trusts, followed while it runs: a revocation on the command line is honoured
//! within [`POLL`], on new and on live connections; a renewed server certificate is taken without a restart.

use crate::home::Home;
use crate::link::{LinkHandle, Revocations, Revoked};
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
    /// The link's configuration in force is older than list or certificate.
    outdated: bool,
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
        let revocations = Revocations { list: list.list().der().to_vec(), ..Revocations::default() };
        let (revoked, _) = watch::channel(Arc::new(revocations));
        let (web, _) = watch::channel(web_config(&identity)?);
        Ok(Self { home: home.clone(), authority, identity, list, revoked, web, outdated: false })
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

    /// Serials that may no longer be used, and the list that clinics are told.
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
            match self.step(&mut |config| Ok(link.set_tls(config)?)) {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the trust in force is not the newest; tried again"
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// One look. Small files; runs on the async thread. What was revoked is told before anything else is tried, and a
    /// configuration that could not be set is set at the next look: one unreadable file shields no revoked key.
    fn step(
        &mut self,
        set_tls: &mut dyn FnMut(&Arc<ServerConfig>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let followed = self.follow_list();
        let renewed = self.follow_certificate();
        let set = if self.outdated {
            self.link_config().and_then(|config| set_tls(&config)).context("the link's TLS configuration")
        } else {
            Ok(())
        };
        self.outdated &= set.is_err();
        followed.and(renewed).and(set)
    }

    fn follow_list(&mut self) -> anyhow::Result<()> {
        let Some(serials) = self.list.poll().context("the revocation list")? else { return Ok(()) };
        tracing::warn!(count = serials.len(), number = self.list.list().number(), "new revocation list");
        self.outdated = true;
        let all: BTreeSet<_> = self.revoked.borrow().serials.iter().cloned().chain(serials).collect();
        let list = self.list.list().der().to_vec();
        self.revoked.send_replace(Arc::new(Revocations { serials: all, list }));
        Ok(())
    }

    /// A pair in the middle of its renewal does not match: the old one stays until the new one is whole.
    fn follow_certificate(&mut self) -> anyhow::Result<()> {
        let fresh = TlsIdentity::load(&self.home.server_chain(), &self.home.server_key())
            .context("the gateway's certificate")?;
        if fresh.chain == self.identity.chain {
            return Ok(());
        }
        let web = web_config(&fresh).context("the gateway's certificate")?;
        self.identity = fresh;
        self.outdated = true;
        self.web.send_replace(web);
        tracing::info!("the gateway's certificate was renewed");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::init;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use relay_certs::authority::{RevocationReason, RevokeTarget, Validity};
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: UtcMs = UtcMs(1_793_667_600_000);

    async fn county(dir: &std::path::Path) -> (Home, Trust) {
        let home = Home(dir.join("home"));
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let new = init::NewCounty {
            id: "county".into(),
            county: "示范县".into(),
            hospital: "示范县人民医院".into(),
            names: vec!["localhost".into()],
            link: any,
            web: any,
            metrics: any,
        };
        init::init(&home, &new, NOW, &mut StdRng::seed_from_u64(1)).await.unwrap();
        let authority = Arc::new(Authority::open(&home.ca()).unwrap());
        let trust = Trust::open(&home, authority).unwrap();
        (home, trust)
    }

    fn revoke_a_certificate(trust: &Trust) {
        let mut rng = StdRng::seed_from_u64(2);
        let names = ["localhost".to_owned()];
        let issued = trust.authority.issue_server(&names, Validity::days(NOW, 30), NOW, &mut rng).unwrap();
        let target = RevokeTarget::Serial(issued.certificate.serial);
        trust.authority.revoke(&target, RevocationReason::KeyCompromise, NOW).unwrap();
    }

    fn counting(set: &mut u32) -> impl FnMut(&Arc<ServerConfig>) -> anyhow::Result<()> {
        |_| {
            *set += 1;
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_revocation_cuts_live_connections_although_the_gateways_key_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let (home, mut trust) = county(dir.path()).await;
        let mut set = 0;
        trust.step(&mut counting(&mut set)).unwrap();
        revoke_a_certificate(&trust);
        let lax = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(home.server_key(), lax).unwrap();
        trust.step(&mut counting(&mut set)).unwrap_err();
        assert_eq!((trust.revoked().borrow().serials.len(), set), (1, 1));
        assert_eq!(trust.revoked().borrow().list, trust.authority.crl_der().unwrap(), "as clinics are told");
    }

    #[tokio::test]
    async fn a_configuration_that_could_not_be_set_is_set_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let (_home, mut trust) = county(dir.path()).await;
        revoke_a_certificate(&trust);
        trust.step(&mut |_| anyhow::bail!("no room")).unwrap_err();
        assert_eq!(trust.revoked().borrow().serials.len(), 1);
        let mut set = 0;
        for _ in 0..2 {
            trust.step(&mut counting(&mut set)).unwrap();
        }
        assert_eq!(set, 1);
    }
}
