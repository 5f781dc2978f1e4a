//! Programs as child processes: long-running ones with a log file, short ones with their output.

use anyhow::{Context as _, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// How much of a log goes into an error message, in bytes.
const LOG_TAIL_BYTES: usize = 4_000;
/// After SIGTERM a program has this long; then SIGKILL.
pub const STOP_GRACE: Duration = Duration::from_secs(20);
/// A short command that takes longer hangs.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(180);

/// The path of one of our programs: beside this one, or (from a test) one directory up.
///
/// # Errors
/// When it has not been built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe().context("cannot find this program's own path")?;
    let places = here.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    let found = places.into_iter().find(|path| path.is_file());
    found.with_context(|| {
        format!("{name} is not built: cargo build -p relay-certs -p relay-gateway -p relay-agent --bins")
    })
}

/// A running program.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program; its standard output and error go to the end of `log`. It dies with this value.
    ///
    /// # Errors
    /// Of the operating system, naming program or log.
    pub fn start<S: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        args: &[S],
        env: &[(&str, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let open = || {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
            file.with_context(|| format!("cannot open {}", log.display()))
        };
        let child = Command::new(program)
            .args(args)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            // Its own group: Ctrl-C reaches this program only, which then stops the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// An error when it has ended, with the end of its log.
    ///
    /// # Errors
    /// That one.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().with_context(|| format!("cannot ask for {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} has ended: {status}\n{}", self.name, tail(&self.log)),
        }
    }

    /// SIGTERM, then after [`STOP_GRACE`] SIGKILL.
    ///
    /// # Errors
    /// When it did not stop by itself, or ended with an error.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        terminate(pid).await?;
        match tokio::time::timeout(STOP_GRACE, self.child.wait()).await {
            Ok(status) => {
                let status = status.with_context(|| format!("cannot wait for {}", self.name))?;
                if !status.success() {
                    bail!("{} stopped with {status}\n{}", self.name, tail(&self.log));
                }
                Ok(())
            }
            Err(_) => {
                self.kill().await?;
                bail!(
                    "{name} did not stop within {} s and was killed",
                    STOP_GRACE.as_secs(),
                    name = "a program"
                )
            }
        }
    }

    /// SIGKILL, as a power cut would do it to a process; waits until the process is gone.
    ///
    /// # Errors
    /// Of the operating system.
    pub async fn kill(mut self) -> anyhow::Result<ExitStatus> {
        self.child.start_kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }
}

async fn terminate(pid: u32) -> anyhow::Result<()> {
    // The shell's own kill: every system has it, and no unsafe code is needed.
    let mut kill = Command::new("/bin/sh");
    // Its own group: a signal to ours must not end it before it has done its work.
    let status = kill.args(["-c", "kill -TERM \"$0\"", &pid.to_string()]).process_group(0).status().await;
    let status = status.context("cannot run /bin/sh")?;
    if !status.success() {
        bail!("kill -TERM {pid}: {status}");
    }
    Ok(())
}

/// The end of a log, for error messages.
#[must_use]
pub fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let from = bytes.len().saturating_sub(LOG_TAIL_BYTES);
    format!("--- {}\n{}", log.display(), String::from_utf8_lossy(&bytes[from..]))
}

/// What a short command left.
#[derive(Debug, Clone)]
pub struct Done {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Done {
    /// Its standard output when it succeeded.
    ///
    /// # Errors
    /// With what it wrote to standard error when not.
    pub fn ok(self) -> anyhow::Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        bail!("{}: {}\n{}{}", self.command, self.status, self.stderr, self.stdout)
    }
}

/// Runs a short command with this standard input.
///
/// # Errors
/// When it cannot be started or takes longer than [`COMMAND_DEADLINE`].
pub async fn run<S: AsRef<OsStr>>(program: &Path, args: &[S], stdin: &str) -> anyhow::Result<Done> {
    run_in(Path::new("."), &[], program, args, stdin).await
}

/// [`run`] in this directory, with these environment variables.
///
/// # Errors
/// As [`run`].
pub async fn run_in<S: AsRef<OsStr>>(
    dir: &Path,
    env: &[(&str, String)],
    program: &Path,
    args: &[S],
    stdin: &str,
) -> anyhow::Result<Done> {
    let words = args.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let command = format!("{name} {words}");
    let mut child = Command::new(program)
        .args(args)
        .current_dir(dir)
        .envs(env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let mut input = child.stdin.take().context("no standard input")?;
    let text = stdin.as_bytes().to_vec();
    let feed = async move {
        // A command that does not read its input is no failure.
        let _ = input.write_all(&text).await;
        drop(input);
    };
    let all = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(COMMAND_DEADLINE, all)
        .await
        .with_context(|| format!("{command}: no end after {} s", COMMAND_DEADLINE.as_secs()))?
        .with_context(|| command.clone())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Done { command, status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) })
}

/// How a program ended that did so by itself, with the end of its log; it is taken out of its place then. `None` while it runs.
pub fn ended(place: &mut Option<Running>) -> Option<String> {
    let error = place.as_mut()?.check().err()?;
    *place = None;
    Some(format!("{error:#}"))
}
