//! What the operator does on the command line. Everything here works beside a running gateway: SQLite takes turns, the CA
//! has its lock, blobs never change.

pub mod backup;
pub mod doctor;
pub mod export;
pub mod init;
pub mod people;
pub mod verify;

use crate::home::Home;
use crate::reports::CountyTrust;
use crate::store::Store;
use anyhow::Context as _;
use relay_certs::authority::{Authority, CRL_FILE};
use relay_core::durable::RealDisk;
use std::path::Path;
use std::sync::Arc;

/// Opens the store of a home that exists; a command never makes a new one by a typing error.
///
/// # Errors
/// Naming the directory.
pub async fn open_store(home: &Home) -> anyhow::Result<Store> {
    let database = home.path().join(crate::store::DATABASE_FILE);
    let config = home.path().join(crate::config::CONFIG_FILE);
    if !database.is_file() && !config.is_file() {
        anyhow::bail!(
            "{} is not the home of a gateway: {} is missing",
            home.path().display(),
            config.display()
        );
    }
    Store::open(home.path(), Arc::new(RealDisk)).await.context("opening the store")
}

/// Whose signatures count at this home; `None`, and told, when its CA cannot be read.
#[must_use]
pub fn trust(home: &Home) -> Option<CountyTrust> {
    let ca = home.ca();
    match Authority::open(&ca) {
        Ok(authority) => Some(CountyTrust::new(authority.ca_certificate().clone(), ca.join(CRL_FILE))),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the county's CA cannot be read");
            None
        }
    }
}

/// A directory that is empty, or is made so.
fn empty_dir(dir: &Path) -> anyhow::Result<()> {
    use relay_core::durable::Disk as _;
    RealDisk.create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let mut entries = std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    anyhow::ensure!(entries.next().is_none(), "{} is not empty", dir.display());
    Ok(())
}

#[cfg(test)]
mod tests;
