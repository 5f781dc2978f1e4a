//! The architecture as a check: which of our crates may see which, and who may use which outside crate. Read from
//! `cargo metadata`, so a forbidden dependency fails here before anybody gets used to it.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};

/// What each of our packages may see of ours, in normal builds. Nobody is left out: a new package must be placed here.
const MAY_SEE: &[(&str, &[&str])] = &[
    ("relay-core", &[]),
    ("relay-ecg", &[]),
    ("relay-film", &[]),
    ("relay-report", &["relay-core"]),
    ("relay-certs", &["relay-core"]),
    ("relay-agent", &["relay-core", "relay-ecg", "relay-film", "relay-report", "relay-certs"]),
    ("viewer-api", &["relay-core", "relay-ecg", "relay-report", "relay-certs"]),
    (
        "relay-gateway",
        &["relay-core", "relay-ecg", "relay-film", "relay-report", "relay-certs", "viewer-api"],
    ),
    (
        "relay-tests",
        &[
            "relay-core",
            "relay-ecg",
            "relay-film",
            "relay-report",
            "relay-certs",
            "relay-agent",
            "relay-gateway",
            "viewer-api",
        ],
    ),
    (
        "relay-benches",
        &[
            "relay-core",
            "relay-ecg",
            "relay-film",
            "relay-report",
            "relay-certs",
            "relay-agent",
            "relay-gateway",
            "relay-tests",
        ],
    ),
];

/// Outside crates that only some of our packages may name, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    (
        "quinn",
        &["relay-agent", "relay-gateway", "relay-tests"],
        "QUIC lives in the two link drivers and the lab",
    ),
    (
        "axum",
        &["viewer-api", "relay-gateway", "relay-agent"],
        "HTTP lives in the reading room and the clinic's page",
    ),
    (
        "sqlx",
        &["relay-gateway", "relay-agent", "relay-tests"],
        "SQL lives in the county's store and the spool",
    ),
    ("dicom-pixeldata", &["viewer-api", "relay-tests"], "image codecs stay out of the agent and the store"),
    ("rcgen", &["relay-certs"], "certificates are made in one place"),
    ("x509-parser", &["relay-certs"], "certificates are read in one place"),
    ("cms", &["relay-certs"], "signatures are made and verified in one place"),
    ("p256", &["relay-certs"], "keys are used in one place"),
    ("p12-keystore", &["relay-certs"], "key files are opened in one place"),
    ("krilla", &["relay-report"], "paper is set in one crate, so that nothing else waits for its build"),
];

/// Crates that nobody may bring in, directly or not.
const NEVER: &[(&str, &str)] = &[
    ("openssl-sys", "one TLS stack: rustls with aws-lc-rs"),
    ("native-tls", "one TLS stack: rustls with aws-lc-rs"),
    ("rsa", "RUSTSEC-2023-0071"),
    ("typst", "adds eleven minutes to a build; paper is set with krilla"),
];

fn ours() -> (Vec<Package>, BTreeSet<String>) {
    let metadata =
        MetadataCommand::new().other_options(vec!["--locked".to_owned(), "--offline".to_owned()]).exec();
    let metadata = metadata.expect("cargo metadata");
    let all = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    let members = metadata.workspace_packages().into_iter().cloned().collect();
    (members, all)
}

fn normal(package: &Package) -> BTreeSet<String> {
    package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal).map(|d| d.name.clone()).collect()
}

#[test]
fn our_crates_see_each_other_in_one_direction_only() {
    let (members, _) = ours();
    let allowed: BTreeMap<&str, &[&str]> = MAY_SEE.iter().copied().collect();
    let names: BTreeSet<String> = members.iter().map(|p| p.name.to_string()).collect();
    let mut wrong = Vec::new();
    for package in &members {
        let may =
            allowed.get(package.name.as_str()).unwrap_or_else(|| panic!("{} has no place", package.name));
        for seen in normal(package).intersection(&names) {
            if !may.contains(&seen.as_str()) {
                wrong.push(format!("{} must not depend on {seen}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_outside_crate_stays_where_it_belongs() {
    let (members, _) = ours();
    let mut wrong = Vec::new();
    for (name, homes, why) in ONLY_IN {
        for package in &members {
            if normal(package).contains(*name) && !homes.contains(&package.name.as_str()) {
                wrong.push(format!("{} must not use {name}: {why}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_brings_in_what_is_banned() {
    let (_, all) = ours();
    for (name, why) in NEVER {
        assert!(!all.contains(*name), "{name} is in the lock file: {why}");
    }
}

#[test]
fn the_shared_crate_neither_waits_nor_talks() {
    let (members, _) = ours();
    let core = members.iter().find(|p| p.name.as_str() == "relay-core").expect("relay-core");
    for banned in ["tokio", "quinn", "hyper", "axum", "sqlx", "async-trait", "rand"] {
        assert!(!normal(core).contains(banned), "relay-core must not use {banned}");
    }
}
