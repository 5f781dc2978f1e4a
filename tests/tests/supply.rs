//! What the programs are made of: licences, sources and banned crates of `deny.toml`, held against `cargo metadata` of this machine's
//! target, so that no further tool is needed.

use cargo_metadata::{Metadata, MetadataCommand, Package};
use std::collections::BTreeSet;

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Everything that is compiled for this target, ours and others'.
fn graph() -> Metadata {
    let rustc = std::process::Command::new("rustc").arg("-vV").output().expect("rustc answers");
    let told = String::from_utf8(rustc.stdout).expect("rustc speaks UTF-8");
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let options = ["--locked", "--filter-platform", host].map(str::to_owned);
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(options)
        .exec()
        .expect("cargo metadata answers")
}

fn others(graph: &Metadata) -> Vec<&Package> {
    let used: BTreeSet<_> = graph.resolve.as_ref().expect("resolved").nodes.iter().map(|n| &n.id).collect();
    let ours: BTreeSet<_> = graph.workspace_members.iter().collect();
    graph.packages.iter().filter(|p| used.contains(&p.id) && !ours.contains(&p.id)).collect()
}

fn rules() -> toml::Table {
    std::fs::read_to_string(root().join("deny.toml"))
        .expect("deny.toml is there")
        .parse()
        .expect("deny.toml is TOML")
}

fn words(value: &toml::Value) -> Vec<String> {
    let words = value.as_array().expect("a list of words");
    words.iter().map(|v| v.as_str().expect("a word").to_owned()).collect()
}

#[test]
fn every_licence_is_on_the_list() {
    let (graph, rules) = (graph(), rules());
    let allowed: Vec<spdx::Licensee> = words(&rules["licenses"]["allow"])
        .iter()
        .map(|word| spdx::Licensee::parse(word).expect("a licence of deny.toml"))
        .collect();
    let mut judged = 0;
    for package in others(&graph) {
        let text = package.license.as_deref().unwrap_or_default();
        let expression = spdx::Expression::parse_mode(text, spdx::ParseMode::LAX)
            .unwrap_or_else(|e| panic!("{} {}: licence {text:?}: {e}", package.name, package.version));
        let lawful = expression.evaluate(|wanted| allowed.iter().any(|licensee| licensee.satisfies(wanted)));
        assert!(lawful, "{} {}: {text} is not on the list of deny.toml", package.name, package.version);
        judged += 1;
    }
    assert!(judged > 300, "only {judged} crates were judged");
}

#[test]
fn what_is_banned_is_not_even_in_the_lock_file() {
    // Of every target and feature. ring stands there for targets that nobody builds; that it is compiled is judged below.
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for banned in rules()["bans"]["deny"].as_array().unwrap() {
        let name = banned["crate"].as_str().unwrap();
        assert!(
            name == "ring" || !lock.contains(&format!("name = \"{name}\"\n")),
            "{name} has come into Cargo.lock"
        );
    }
}

/// Names of what is compiled: `cargo metadata` also lists what a feature that is off would bring.
fn compiled() -> BTreeSet<String> {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--workspace", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo tree answers");
    let told = String::from_utf8(tree.stdout).expect("cargo speaks UTF-8");
    told.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_crate_comes_from_the_registry_and_none_is_banned() {
    let (graph, rules, compiled) = (graph(), rules(), compiled());
    assert!(compiled.contains("rustls") && compiled.len() > 300, "cargo tree was read");
    let banned: Vec<String> = rules["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["crate"].as_str().unwrap().to_owned())
        .collect();
    assert!(banned.contains(&"ring".to_owned()), "deny.toml was read");
    for package in others(&graph) {
        assert!(
            package.source.as_ref().is_some_and(|source| source.is_crates_io()),
            "{}: from {:?}",
            package.name,
            package.source
        );
    }
    for name in &banned {
        assert!(!compiled.contains(name), "{name} is compiled and banned by deny.toml");
    }
}
