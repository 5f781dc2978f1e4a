//! The agent as a process: commands, local API, restart after a kill.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what fails by panicking, and what was said by printing"
)]

use base64::Engine as _;
use relay_certs::testing::TestCounty;
use relay_core::clock::{Clock as _, SystemClock};
use relay_core::durable::{Disk as _, RealDisk, write_atomic};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const AGENT: &str = env!("CARGO_BIN_EXE_relay-agent");
const ECG: &[u8] =
    b"<?xml version=\"1.0\"?>\n<AnnotatedECG xmlns=\"urn:hl7-org:v3\"><id root=\"1\"/></AnnotatedECG>";

struct Site {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn file(path: &Path, bytes: &[u8]) -> PathBuf {
    RealDisk.create_dir_all(path.parent().unwrap()).unwrap();
    write_atomic(&RealDisk, path, bytes, 0o600).unwrap();
    path.to_owned()
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut county = TestCounty::new(&dir.path().join("ca"), 3, SystemClock.now());
        let identity = county.agent("shilipu");
        let home = dir.path().join("home");
        let mut pem = String::new();
        for certificate in &identity.chain {
            let text = base64::engine::general_purpose::STANDARD.encode(certificate.as_ref());
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            for line in text.as_bytes().chunks(64) {
                pem.push_str(std::str::from_utf8(line).unwrap());
                pem.push('\n');
            }
            pem.push_str("-----END CERTIFICATE-----\n");
        }
        file(&home.join("identity/agent.pem"), pem.as_bytes());
        file(&home.join("identity/crl.der"), &county.crl());
        identity.key.save(&home.join("identity/agent.key")).unwrap();
        let config = "[county]\nduty_phone = \"0351-120\"\n[dicom]\nlisten = \"127.0.0.1:0\"\n[page]\nlisten = \"127.0.0.1:0\"\n\
            [spool]\nfree_floor_gib = 0\n[[folder]]\npath = \"ecg\"\nclass = \"green\"\nstable_s = 0\npoll_s = 1\n";
        file(&home.join("agent.toml"), config.as_bytes());
        Self { dir, child: None }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn start(&mut self) -> Value {
        let mut child = Command::new(AGENT)
            .arg("run")
            .arg("--home")
            .arg(self.home())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.child = Some(child);
        serde_json::from_str(&line).expect("the agent says that it is ready")
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn command(&self, args: &[&str], input: &str) -> Output {
        let (verb, rest) = args.split_first().unwrap();
        let mut command = Command::new(AGENT);
        command.arg(verb);
        // Sub-commands take --home behind their own verb.
        let rest = match *verb {
            "staff" | "report" | "critical" | "retake" => {
                command.arg(rest[0]);
                &rest[1..]
            }
            _ => rest,
        };
        let mut child = command
            .arg("--home")
            .arg(self.home())
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        println!(
            "{args:?}: {:?}\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        out
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.command(args, "").stdout).unwrap()
    }
}

fn get(address: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_day_at_the_clinic_with_a_kill_in_it_and_no_county() {
    let mut site = Site::new();
    let ready = site.start();
    let ecg = file(&site.dir.path().join("in/e.xml"), ECG);
    let junk = file(&site.dir.path().join("in/minutes.txt"), b"minutes of the meeting, nothing else");

    let sent =
        site.json(&["send", ecg.to_str().unwrap(), "--class", "emergency", "--complaint", "胸痛", "--json"]);
    assert_eq!((sent["objects"].as_u64(), sent["fresh"].as_u64()), (Some(1), Some(1)));
    let again = site.json(&["send", ecg.to_str().unwrap(), "--json"]);
    assert_eq!(again["fresh"], 0);
    let refused = site.command(&["send", junk.to_str().unwrap()], "");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("REFUSED_FORMAT"));

    let study = sent["studies"][0].as_str().unwrap();
    let marked = site.json(&["mark", study, "--class", "green", "--phone", "139"]);
    assert_eq!((marked["class"].as_str(), marked["complete"].as_bool()), (Some("green"), Some(true)));

    assert!(site.command(&["staff", "add", "李医生"], "246810\n").status.success());
    assert!(!site.command(&["staff", "add", "王医生"], "12\n").status.success());

    let status = site.json(&["status", "--json"]);
    assert_eq!((status["running"].as_bool(), status["duty_phone"].as_str()), (Some(true), Some("0351-120")));
    let view = &status["studies"][0];
    assert_eq!(
        (view["state"].as_str(), view["class"].as_str(), view["complaint"].as_str()),
        (Some("safe_here"), Some("green"), Some("胸痛"))
    );
    assert_eq!(status["rejects"][0]["file"], "minutes.txt");
    assert_eq!(status["staff"][0], "李医生");
    assert!(!site.command(&["doctor"], "").status.success(), "no gateway is configured");

    let page = ready["page"].as_str().unwrap();
    let html = get(page, "/", "");
    assert!(
        html.contains("远程诊断") && html.contains("content-security-policy: default-src 'none'"),
        "{html}"
    );
    assert!(get(page, "/api/v1/overview", "").starts_with("HTTP/1.1 401"));
    let figures = get(page, "/metrics", "");
    for line in
        ["relay_agent_objects{state=\"waiting\"} 1", "relay_agent_link_up 0", "relay_agent_rejected_files 1"]
    {
        assert!(figures.contains(line), "{line} in {figures}");
    }
    assert!(!figures.contains(study) && !figures.contains("minutes") && !figures.contains("李"), "no names");
    let key = status["page_url"].as_str().unwrap().rsplit_once('=').unwrap().1.to_owned();
    assert!(get(page, &format!("/enter?key={key}"), "").contains("set-cookie: relay_page="));
    assert!(get(page, "/enter?key=wrong", "").starts_with("HTTP/1.1 401"));
    assert!(
        get(page, "/api/v1/overview", &format!("cookie: relay_page={key}\r\n")).starts_with("HTTP/1.1 200")
    );

    site.kill();
    let other = file(&site.dir.path().join("in/f.xml"), &[ECG, b"<!-- another -->"].concat());
    let asleep = site.command(&["send", other.to_str().unwrap(), "--json"], "");
    assert!(asleep.status.success() && String::from_utf8_lossy(&asleep.stderr).contains("代理程序未运行"));
    assert_eq!(site.json(&["status", "--json"])["studies"].as_array().unwrap().len(), 2);
    site.start();
    let status = site.json(&["status", "--json"]);
    assert_eq!(status["studies"].as_array().unwrap().len(), 2);
    assert!(
        site.command(&["report", "open", "nothing", "--as", "李医生", "--pdf", "x.pdf"], "246810")
            .status
            .code()
            == Some(1)
    );
}

#[test]
fn a_wrong_configuration_is_named_with_file_line_and_field() {
    let site = Site::new();
    file(&site.home().join("agent.toml"), b"[page]\nlisten = \"127.0.0.1:0\"\nlissten = 1\n");
    let out = site.command(&["run"], "");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success());
    assert!(said.contains("agent.toml") && said.contains("line 3") && said.contains("lissten"), "{said}");
}

#[test]
fn an_agent_that_was_never_enrolled_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let out = Command::new(AGENT).args(["run", "--home"]).arg(dir.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stderr).contains("not enrolled"));
}
