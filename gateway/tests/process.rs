//! The real binary: made, run, asked, enrolled at, stopped.

#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

use relay_certs::enrol::{AgentRequest, EnrolReply, Invitation, make_csr};
use relay_certs::trust::enrolment_client_config;
use relay_core::clock::{Clock as _, SystemClock};
use relay_core::ids::ClinicId;
use relay_gateway::home::Addresses;
use rustls_pki_types::ServerName;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn gateway(home: &Path, args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_relay-gateway"))
        .arg("--home")
        .arg(home)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn made(home: &Path) {
    let any = "127.0.0.1:0";
    let args = [
        "init",
        "--county",
        "示范县",
        "--hospital",
        "示范县人民医院",
        "--name",
        "localhost",
        "--name",
        "127.0.0.1",
        "--link",
        any,
        "--web",
        any,
        "--metrics",
        any,
    ];
    ok(gateway(home, &args, ""));
}

/// A running gateway; killed when dropped.
struct Running {
    child: Child,
    addresses: Addresses,
}

impl Running {
    fn start(home: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_relay-gateway"))
            .arg("--home")
            .arg(home)
            .arg("run")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        loop {
            let Some(Ok(line)) = lines.next() else { panic!("the gateway ended: {seen:#?}") };
            let ready = line.contains("the gateway is ready");
            seen.push(line);
            if ready {
                break;
            }
        }
        // Keeps the pipe open and empty.
        std::thread::spawn(move || for _ in lines {});
        let text = std::fs::read(home.join("addresses.json")).unwrap();
        Self { child, addresses: serde_json::from_slice(&text).unwrap() }
    }

    fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    fn stop(mut self) {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn plain_get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn https(running: &Running, invitation: &Invitation, request: String) -> String {
    let config = enrolment_client_config(invitation.ca_fingerprint, &[b"http/1.1"]).unwrap();
    let stream = TcpStream::connect(running.addresses.web).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that closes without a TLS goodbye after the whole answer is heard all the same.
    let _ = tls.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn enrol_request(invitation: &Invitation, request: &AgentRequest) -> String {
    let body = serde_json::to_string(&request.body(invitation)).unwrap();
    format!(
        "POST /enrol/v1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_is_made_runs_enrols_a_clinic_and_stops_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    made(&home);
    let added = ok(gateway(&home, &["clinic", "add", "shilipu", "--name", "十里铺镇卫生院", "--json"], ""));
    let added: serde_json::Value = serde_json::from_str(&added).unwrap();
    let invitation = Invitation::parse(added["code"].as_str().unwrap()).unwrap();
    let account = [
        "account",
        "add",
        "d1",
        "--name",
        "王医生",
        "--role",
        "reader",
        "--clinic",
        "shilipu",
        "--kind",
        "xray",
    ];
    let account = ok(gateway(&home, &account, "a long password\n246810\n"));
    assert!(account.contains("otpauth://"), "{account}");

    let running = Running::start(&home);
    let figures = plain_get(running.addresses.metrics.unwrap(), "/metrics").await;
    assert!(figures.starts_with("HTTP/1.1 200"), "{figures}");
    let page = "GET /api/v1/openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned();
    assert!(https(&running, &invitation, page).await.contains("\"openapi\""));

    let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::from_os_rng();
    let request = make_csr(&ClinicId::parse("shilipu").unwrap(), &mut rng).unwrap();
    let answer = https(&running, &invitation, enrol_request(&invitation, &request)).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let reply: EnrolReply = serde_json::from_str(body).unwrap();
    assert!(matches!(reply, EnrolReply::Issued { .. }), "{reply:?}");
    // The code is spent: another key gets nothing.
    let other = make_csr(&ClinicId::parse("shilipu").unwrap(), &mut rng).unwrap();
    let refused = https(&running, &invitation, enrol_request(&invitation, &other)).await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("ENROLMENT_CODE_INVALID"), "{refused}");

    // Commands work beside it.
    assert!(ok(gateway(&home, &["doctor"], "")).contains("running"));
    let second = gateway(&home, &["run"], "");
    assert!(String::from_utf8_lossy(&second.stderr).contains("another gateway runs"));
    let backup = dir.path().join("backup");
    ok(gateway(&home, &["backup", backup.to_str().unwrap()], ""));
    let third = dir.path().join("third");
    ok(gateway(&third, &["restore", backup.to_str().unwrap()], ""));
    ok(gateway(&home, &["verify-store", "--json"], ""));
    assert!(ok(gateway(&home, &["audit", "verify"], "")).contains("3 entries"));
    running.stop();
    assert!(SystemClock.now().0 > 0);
    // And the restored county runs too.
    Running::start(&third).stop();
}

#[test]
fn wrong_use_is_said_with_file_field_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let nowhere = gateway(&home, &["verify-store"], "");
    assert!(!nowhere.status.success());
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("is not the home of a gateway"));
    made(&home);
    let path = home.join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace("free_floor_mb", "free_flor_mb");
    relay_core::durable::write_atomic(&relay_core::durable::RealDisk, &path, text.as_bytes(), 0o600).unwrap();
    let wrong = gateway(&home, &["run"], "");
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        said.contains("gateway.toml") && said.contains("free_flor_mb") && said.contains("line"),
        "{said}"
    );
    let role = gateway(&home, &["account", "add", "x", "--name", "X", "--role", "king"], "password\n");
    assert!(String::from_utf8_lossy(&role.stderr).contains("field role"));
}
