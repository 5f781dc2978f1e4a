//! The direction of dependencies, read from `cargo metadata`: who may see whom, and which crate owns which technology.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

/// Direct dependencies of our packages that end up in a shipped program.
fn direct(kinds: &[DependencyKind]) -> BTreeMap<String, BTreeSet<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata: Metadata =
        MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata answers");
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let named = package.dependencies.iter().filter(|d| kinds.contains(&d.kind));
            (package.name.to_string(), named.map(|d| d.name.clone()).collect())
        })
        .collect()
}

const SHIPPED: &[DependencyKind] = &[DependencyKind::Normal, DependencyKind::Build];

/// Which of our packages each of our packages may see.
const MAY_SEE: &[(&str, &[&str])] = &[
    ("relay-core", &[]),
    ("relay-ecg", &[]),
    ("relay-film", &[]),
    ("relay-pace", &[]),
    ("relay-report", &["relay-core", "relay-ecg"]),
    ("relay-certs", &["relay-core"]),
    ("relay-agent", &["relay-core", "relay-ecg", "relay-film", "relay-pace", "relay-report", "relay-certs"]),
    ("viewer-api", &["relay-core", "relay-ecg", "relay-film", "relay-report", "relay-certs"]),
    (
        "relay-gateway",
        &["relay-core", "relay-ecg", "relay-film", "relay-pace", "relay-report", "relay-certs", "viewer-api"],
    ),
];

/// Packages that prove the others and are never shipped.
const LABS: &[&str] = &["relay-tests", "relay-benches"];

/// Technologies and the packages that own them. A name ending in `*` stands for a family.
const OWNERS: &[(&[&str], &[&str])] = &[
    (&["quinn", "quinn-udp"], &["relay-agent", "relay-gateway"]),
    (&["quinn-proto"], &["relay-agent", "relay-gateway", "relay-pace"]),
    (
        &["axum", "hyper", "hyper-util", "tower-http", "http-body-util"],
        &["viewer-api", "relay-gateway", "relay-agent"],
    ),
    (&["utoipa", "utoipa-axum"], &["viewer-api"]),
    (&["sqlx"], &["relay-agent", "relay-gateway"]),
    (
        &["x509-parser", "x509-cert", "rcgen", "cms", "der", "spki", "const-oid", "p256", "p12-keystore"],
        &["relay-certs"],
    ),
    (&["dicom-pixeldata", "image"], &["viewer-api"]),
    (&["dicom-ul"], &["relay-agent"]),
    (&["krilla", "lopdf"], &["relay-report"]),
    (&["metrics-exporter-prometheus"], &["relay-gateway", "relay-agent"]),
];

/// What a pure package must not depend on: it would be async, open sockets or know a database.
const IMPURE: &[&str] =
    &["tokio", "async-trait", "quinn", "hyper", "axum", "sqlx", "socket2", "rustls", "reqwest"];
const PURE: &[&str] = &["relay-core", "relay-ecg", "relay-film", "relay-pace", "relay-report"];

#[test]
fn every_package_has_its_place() {
    let known: BTreeSet<&str> = MAY_SEE.iter().map(|(name, _)| *name).chain(LABS.iter().copied()).collect();
    for package in direct(SHIPPED).keys() {
        assert!(known.contains(package.as_str()), "{package}: say in this test what it may see");
    }
}

#[test]
fn packages_see_only_what_lies_below_them() {
    let direct = direct(SHIPPED);
    let ours: BTreeSet<&String> = direct.keys().collect();
    for (package, may_see) in MAY_SEE {
        for seen in direct[*package].iter().filter(|d| ours.contains(d)) {
            assert!(may_see.contains(&seen.as_str()), "{package} must not see {seen}");
        }
    }
}

#[test]
fn even_in_tests_agent_and_gateway_do_not_see_each_other_and_nobody_sees_the_lab() {
    let all = direct(&[DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development]);
    for (package, other) in
        [("relay-agent", "relay-gateway"), ("relay-gateway", "relay-agent"), ("viewer-api", "relay-gateway")]
    {
        assert!(!all[package].contains(other), "{package} must not see {other}");
    }
    for (package, seen) in &all {
        for lab in LABS {
            assert!(!seen.contains(*lab) || LABS.contains(&package.as_str()), "{package} must not see {lab}");
        }
    }
}

#[test]
fn each_technology_has_its_owners() {
    let direct = direct(SHIPPED);
    for (package, dependencies) in &direct {
        for (technology, owners) in OWNERS {
            for name in technology.iter().filter(|name| dependencies.contains(**name)) {
                let allowed = owners.contains(&package.as_str()) || LABS.contains(&package.as_str());
                assert!(
                    allowed,
                    "{package} must not depend on {name}: that belongs to {}",
                    owners.join(", ")
                );
            }
        }
    }
}

#[test]
fn pure_packages_stay_pure() {
    let direct = direct(SHIPPED);
    for package in PURE {
        for impure in IMPURE {
            assert!(!direct[*package].contains(*impure), "{package} is pure and must not depend on {impure}");
        }
    }
}
