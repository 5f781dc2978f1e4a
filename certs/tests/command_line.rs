//! The command line as people use it: files, modes, words, exit codes.

use std::path::Path;
use std::process::{Command, Output};

fn relay_certs(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_relay-certs")).args(args).output().expect("the binary runs")
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&[out.stdout.clone(), out.stderr.clone()].concat()).into_owned()
}

fn ok(args: &[&str]) -> String {
    let out = relay_certs(args);
    assert!(out.status.success(), "{args:?}: {}", text(&out));
    text(&out)
}

#[expect(clippy::disallowed_methods, reason = "a test file, not a record")]
fn put(path: &Path, content: &str) {
    std::fs::write(path, content).expect("a file in a temporary directory");
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

#[test]
fn a_county_is_made_and_run_from_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let ca = at("ca");
    assert!(ok(&["init", "--dir", &ca, "--county", "某县"]).contains("CA指纹"));

    let (cert, key) = (at("gw.pem"), at("gw.key"));
    ok(&[
        "server",
        "--dir",
        &ca,
        "--name",
        "localhost",
        "--name",
        "127.0.0.1",
        "--cert",
        &cert,
        "--key",
        &key,
    ]);
    put(Path::new(&at("pin")), "135790\n");
    let p12 = at("zhang.p12");
    let (pin, id) = (at("pin"), "d001");
    let doctor = [
        "doctor",
        "--dir",
        &ca,
        "--id",
        id,
        "--name",
        "张医师",
        "--role",
        "reviewer",
        "--pin-file",
        &pin,
        "--out",
        &p12,
    ];
    let said = ok(&doctor);
    assert!(said.contains("演示签名") && !said.contains("135790"), "{said}");
    #[cfg(unix)]
    assert_eq!((mode(Path::new(&key)), mode(Path::new(&p12))), (0o600, 0o600));

    let code = ok(&["code", "--dir", &ca, "--clinic", "shilipu", "--json"]);
    let code: serde_json::Value = serde_json::from_str(&code).unwrap();
    assert!(code["code"].as_str().unwrap().starts_with("RELAY1-shilipu-"));

    let list = ok(&["list", "--dir", &ca]);
    assert!(list.contains("doctor d001 (reviewer)") && list.contains("有效/valid"), "{list}");
    assert!(ok(&["revoke", "--dir", &ca, "--doctor", id, "--reason", "key_compromise"]).contains("已吊销 1"));
    let list: serde_json::Value = serde_json::from_str(&ok(&["list", "--dir", &ca, "--json"])).unwrap();
    assert_eq!(list[1]["revoked"]["reason"], "key_compromise");
    let crl = at("out.crl");
    ok(&["crl", "--dir", &ca, "--force", "--out", &crl]);
    assert!(std::fs::metadata(&crl).unwrap().len() > 100);
}

#[test]
fn refusals_have_words_in_both_languages_and_their_own_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let ca = home.path().join("ca").to_str().unwrap().to_owned();
    let code = |args: &[&str]| {
        let out = relay_certs(args);
        (out.status.code(), text(&out))
    };
    assert_eq!(code(&["list", "--dir", &ca]).0, Some(3));
    ok(&["init", "--dir", &ca, "--county", "某县"]);
    let (exit, said) = code(&["init", "--dir", &ca, "--county", "某县"]);
    assert!(exit == Some(1) && said.contains("错误：") && said.contains("error: "), "{said}");
    assert_eq!(code(&["revoke", "--dir", &ca, "--clinic", "nobody"]).0, Some(1));
    assert_eq!(code(&["code", "--dir", &ca, "--clinic", "UPPER"]).0, Some(1));
    assert_eq!(code(&["code", "--dir", &ca, "--clinic", "a", "--hours", "100000"]).0, Some(1));
    assert_eq!(code(&["revoke", "--dir", &ca]).0, Some(2));
    let pin = home.path().join("pin");
    put(&pin, "123");
    let out = home.path().join("x.p12");
    let (exit, said) = code(&[
        "doctor",
        "--dir",
        &ca,
        "--id",
        "d",
        "--name",
        "n",
        "--role",
        "reader",
        "--pin-file",
        pin.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(exit == Some(1) && said.contains("PIN") && !out.exists(), "{said}");
    // A refused PIN leaves no certificate behind.
    assert_eq!(ok(&["list", "--dir", &ca, "--json"]).trim(), "[]");
}
