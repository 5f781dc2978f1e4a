//! The pages in a real browser (Chromium) against a real county: the script of the pages themselves, run on a town.
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stands")]

mod common;

use common::town;
use relay_core::study::Class;
use relay_tests::lab::process;
use std::path::{Path, PathBuf};

/// Where the pages live.
const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../viewer-api/web");

fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// What the browser needs on this machine; `None` = say so and skip, unless a browser is demanded.
fn browser() -> Option<PathBuf> {
    let web = Path::new(WEB);
    let pages = web.join("dist").join("index.html").is_file() && web.join("node_modules").is_dir();
    let (Some(node), Some(_), true) = (in_path("node"), in_path("chromium"), pages) else {
        let missing = "node, chromium or the built pages are missing (./run test installs and builds them)";
        assert!(std::env::var("RELAY_BROWSER").is_err(), "{missing}");
        println!("skipped: {missing}");
        return None;
    };
    Some(node)
}

/// Two browsers on two cores wait for each other longer than people would.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs the script of the pages.
async fn play(node: &Path, env: &[(&str, String)]) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let web = Path::new(WEB);
    let script = web.join("tests").join("reading.e2e.mjs").display().to_string();
    let done = process::run_in(web, env, node, &["--test", &script], "").await.unwrap();
    assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
}

#[tokio::test]
async fn what_a_county_seldom_does_is_played_to_the_pages() {
    // Leases lost, sessions ended, streams cut, versions withdrawn: the county is played, the pages and the browser are real.
    let Some(node) = browser() else { return };
    play(&node, &[("NODE_NO_WARNINGS", "1".to_owned())]).await;
}

#[tokio::test]
async fn a_film_is_read_signed_and_audited_in_the_browser() {
    let Some(node) = browser() else { return };
    let (_dir, town) = town().await;
    let chest = common::exam(101, 0, 0.3);
    let answers = town.clinics[0].store("DR-01", chest.films.clone()).await.unwrap();
    assert!(answers.iter().all(|a| a.status == 0), "{answers:?}");
    let ecg = relay_tests::lab::ecgs::ecg("browser", 1, common::now()).unwrap();
    let path = town.clinics[1].home().join("browser-ecg.dcm");
    common::put(&path, &ecg.file);
    assert!(town.clinics[1].send(&[&path], Class::Green).await.unwrap().is_empty());
    common::safe(&town, 0, &chest.uid).await;
    common::safe(&town, 1, &ecg.uid).await;
    let demo = town.file().display().to_string();
    play(&node, &[("DEMO", demo), ("NODE_NO_WARNINGS", "1".to_owned())]).await;
}
