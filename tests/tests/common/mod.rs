//! What the end-to-end tests share.
#![expect(dead_code, reason = "each test program uses its own part")]

use relay_core::clock::{Clock as _, MINUTE_MS, SystemClock, UtcMs};
use relay_tests::demo::{Pace, Town};
use relay_tests::lab::clinic::Clinic;
use relay_tests::lab::process;
use relay_tests::lab::reading::Doctor;
use relay_tests::lab::scu;
use relay_tests::lab::wait::{Look, until};
use relay_tests::phantom::{self, FilmRequest};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Long enough for any single step on a busy machine.
pub(crate) const DAY: Duration = Duration::from_secs(90);

/// A county and two clinics in a directory of their own.
pub(crate) async fn town() -> (tempfile::TempDir, Town) {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::open(dir.path(), Pace::Play, &mut rand::rng()).await.unwrap();
    (dir, town)
}

/// Now.
pub(crate) fn now() -> UtcMs {
    SystemClock.now()
}

/// A test file, not a record.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    relay_tests::lab::put(path, bytes).unwrap();
}

/// A study with its films.
#[derive(Debug, Clone)]
pub(crate) struct Exam {
    /// StudyInstanceUID.
    pub(crate) uid: String,
    /// (0010,0010).
    pub(crate) name: String,
    /// The files.
    pub(crate) films: Vec<Vec<u8>>,
    requests: Vec<FilmRequest>,
}

/// Study `index` of `seed`: even ones are chests in two views, odd ones hands.
pub(crate) fn exam(seed: u64, index: u64, scale: f32) -> Exam {
    exam_by(0, seed, index, scale)
}

/// [`exam`] by a machine whose clock is `ahead_ms` ahead.
pub(crate) fn exam_by(ahead_ms: i64, seed: u64, index: u64, scale: f32) -> Exam {
    let taken = SystemClock.now().plus_ms(ahead_ms - 2 * MINUTE_MS);
    Exam::of(phantom::study(seed, index, scale, taken).films)
}

impl Exam {
    fn of(requests: Vec<FilmRequest>) -> Self {
        let films = requests.iter().map(|request| phantom::film(request).unwrap().file).collect();
        let (uid, name) = (requests[0].study_uid.clone(), requests[0].patient.name.clone());
        Self { uid, name, films, requests }
    }

    /// Its first film as one more view of another study.
    pub(crate) fn as_late_view_of(&self, other: &Self) -> Vec<u8> {
        let mut request = self.requests[0].clone();
        request.study_uid.clone_from(&other.uid);
        request.patient = other.requests[0].patient.clone();
        request.accession.clone_from(&other.requests[0].accession);
        request.exam_at = other.requests[0].exam_at;
        phantom::film(&request).unwrap().file
    }

    /// With this patient id, and the UIDs of another exam when given.
    pub(crate) fn with(&self, patient_id: &str, uids: Option<&Self>) -> Self {
        let mut requests = self.requests.clone();
        for (number, request) in requests.iter_mut().enumerate() {
            patient_id.clone_into(&mut request.patient.id);
            if let Some(other) = uids {
                let same = &other.requests[number];
                request.study_uid.clone_from(&same.study_uid);
                request.series_uid.clone_from(&same.series_uid);
                request.instance_uid.clone_from(&same.instance_uid);
            }
        }
        Self::of(requests)
    }
}

/// The data set of a DICOM file: everything behind the file meta information.
pub(crate) fn data_set(file: &[u8]) -> &[u8] {
    &file[scu::parts(file).unwrap().data_set_at..]
}

/// StudyInstanceUID of a DICOM file.
pub(crate) fn study_uid(file: &[u8]) -> String {
    relay_core::formats::dicom::admit(std::io::Cursor::new(file)).unwrap().study_uid.to_string()
}

fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed (Debian: dcmtk)"))
}

/// Runs a tool of dcmtk; it must succeed.
pub(crate) async fn dcmtk(name: &str, args: &[&str]) {
    process::run(&tool(name), args, "").await.unwrap().ok().unwrap();
}

/// Sends one file with dcmtk's storescu, proposing its transfer syntax.
pub(crate) async fn storescu(scp: SocketAddr, propose: &str, file: &Path) {
    let (host, port, file) = (scp.ip().to_string(), scp.port().to_string(), file.display().to_string());
    dcmtk("storescu", &["-R", propose, "-aet", "DR-01", "-aec", "RELAY", &host, &port, &file]).await;
}

/// Waits until a study is safe at the county.
pub(crate) async fn safe(town: &Town, clinic: usize, uid: &str) {
    let what = format!("{uid} to be safe at the county");
    until(&what, DAY, async || {
        let page = town.clinics[clinic].overview().await?;
        let study = page.studies.iter().find(|s| s.uid.as_str() == uid);
        let safe = study.is_some_and(|s| s.safe_at.is_some() && s.receipted == s.objects && s.complete);
        Ok(if safe { Look::There(()) } else { Look::NotYet(format!("{study:?}, line {:?}", page.link)) })
    })
    .await
    .unwrap();
}

/// Waits until the clinic holds this many valid report versions of a study.
pub(crate) async fn reports(town: &Town, clinic: usize, uid: &str, wanted: usize) {
    until("the reports to come back", DAY, async || {
        let page = town.clinics[clinic].overview().await?;
        let count = page.reports.iter().filter(|r| r.study.as_str() == uid && r.fault.is_none()).count();
        Ok(if count == wanted { Look::There(()) } else { Look::NotYet(format!("{count} of {wanted}")) })
    })
    .await
    .unwrap();
}

/// Waits until the agent is in the middle of receiving an object.
pub(crate) async fn receiving(clinic: &Clinic) {
    let partial = clinic.home().join("spool").join("partial");
    until("bytes of an unfinished object", DAY, async || {
        let files = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        let bytes: u64 = files.filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum();
        Ok(if bytes > 0 { Look::There(()) } else { Look::NotYet("none".to_owned()) })
    })
    .await
    .unwrap();
}

/// An author who may also audit, and a second reviewer.
pub(crate) async fn radiologists(town: &Town) -> (Doctor, Doctor) {
    let author = Doctor::log_in(&town.county, town.login("qian").unwrap()).await.unwrap();
    let mut second = town.login("qian").unwrap().clone();
    second.login = "zhou".to_owned();
    second.name = "周航".to_owned();
    town.county.add_account(&mut second, &["liuhe", "shiqiao"]).await.unwrap();
    let reviewer = Doctor::log_in(&town.county, &second).await.unwrap();
    (author, reviewer)
}

/// Exports a study from the county; gives its files.
pub(crate) async fn export(town: &Town, uid: &str, clinic: Option<&str>) -> Vec<Vec<u8>> {
    let to = tempfile::tempdir().unwrap();
    let target = to.path().join("study").display().to_string();
    let mut words = vec!["export-study", uid, "--to", &target];
    if let Some(clinic) = clinic {
        words.extend(["--clinic", clinic]);
    }
    town.county.gateway(&words, "").await.unwrap();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&target)
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| !p.ends_with("study.json"))
        .collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}
