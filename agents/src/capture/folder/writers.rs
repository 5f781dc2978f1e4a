//! Who is still writing: files that another process on this machine has open for writing.
//!
//! A copy that reserves its length first stands still while the network stalls; a time of silence cannot tell it from a
//! whole file. The kernel can: it reports a file as made or changed, and again when the last writer closes it (inotify).
//! Programs on this machine are seen, which an SMB or FTP server is; writers on the other side of a mounted share are not,
//! nor is one that was silent since before the start. For those silence decides, and the second look after the move.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Directories that are listened to: patient folders of some years.
const MAX_DIRS: usize = 4_096;
/// Files remembered as open: more at a time is one broken program.
const MAX_OPEN: usize = 4_096;
/// Bytes of events read at a time: about a hundred.
const EVENT_BYTES: usize = 8 * 1024;

/// Open files below the watched directories.
#[derive(Debug)]
pub(super) struct Writers {
    events: Option<OwnedFd>,
    dirs: HashMap<i32, PathBuf>,
    /// Made, and not opened as far as is known: a second name for a file that is elsewhere.
    made: HashSet<PathBuf>,
    /// Open, and whether bytes were written since.
    open: HashMap<PathBuf, bool>,
    /// Names on their way from one place to another, by the kernel's cookie: whether they were open.
    moving: HashMap<u32, Option<bool>>,
}

/// One event, copied out of the kernel's buffer.
struct Heard {
    path: PathBuf,
    flags: ReadFlags,
    cookie: u32,
}

impl Writers {
    pub(super) fn new() -> Self {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let events = events
            .inspect_err(|error| {
                tracing::warn!(%error, "open files cannot be told from closed ones here; silence decides");
            })
            .ok();
        Self {
            events,
            dirs: HashMap::new(),
            made: HashSet::new(),
            open: HashMap::new(),
            moving: HashMap::new(),
        }
    }

    /// Listens to a directory. Again and again: a directory that was renamed is known by its new name.
    pub(super) fn watch(&mut self, dir: &Path) {
        let Some(events) = &self.events else { return };
        if self.dirs.len() >= MAX_DIRS && !self.dirs.values().any(|known| known == dir) {
            return;
        }
        let wanted = WatchFlags::CREATE
            | WatchFlags::OPEN
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(events, dir, wanted) {
            Ok(watch) => {
                self.dirs.insert(watch, dir.to_owned());
            }
            Err(error) => tracing::debug!(dir = %dir.display(), %error, "writers in it are not seen"),
        }
    }

    /// Takes note of everything that has happened.
    pub(super) fn hear(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
        let Some(events) = &self.events else { return };
        let mut heard = Vec::new();
        let mut reader = inotify::Reader::new(events, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let flags = event.events();
                    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                        // Closings may be among what was lost: what is not known counts as closed.
                        heard.clear();
                        self.made.clear();
                        self.open.clear();
                        self.moving.clear();
                        continue;
                    }
                    if flags.contains(ReadFlags::IGNORED) {
                        self.dirs.remove(&event.wd());
                        continue;
                    }
                    let (Some(dir), Some(name)) = (self.dirs.get(&event.wd()), event.file_name()) else {
                        continue;
                    };
                    if !flags.contains(ReadFlags::ISDIR) {
                        let path = dir.join(OsStr::from_bytes(name.to_bytes()));
                        heard.push(Heard { path, flags, cookie: event.cookie() });
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    tracing::warn!(%error, "what happens in a watched folder cannot be read; silence decides");
                    break;
                }
            }
        }
        for one in heard {
            self.note(one);
        }
    }

    fn note(&mut self, Heard { path, flags, cookie }: Heard) {
        let room = self.open.len() < MAX_OPEN && self.made.len() < MAX_OPEN && self.moving.len() < MAX_OPEN;
        if flags.contains(ReadFlags::CREATE) && room {
            self.made.insert(path);
        } else if flags.contains(ReadFlags::OPEN) {
            // The first to open what was just made is who made it.
            if self.made.remove(&path) && room {
                self.open.insert(path, false);
            }
        } else if flags.contains(ReadFlags::MODIFY) && room {
            self.open.insert(path, true);
        } else if flags.contains(ReadFlags::MOVED_FROM) {
            let was_open = self.open.remove(&path);
            if room {
                self.moving.insert(cookie, was_open);
            }
        } else if flags.contains(ReadFlags::MOVED_TO) {
            match self.moving.remove(&cookie).flatten() {
                Some(written) => self.open.insert(path, written),
                None => self.open.remove(&path),
            };
        } else if flags.contains(ReadFlags::CLOSE_NOWRITE) {
            // A reader went away. Without a written byte it may be who was taken for the writer.
            if self.open.get(&path) == Some(&false) {
                self.open.remove(&path);
            }
        } else if flags.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::DELETE) {
            self.made.remove(&path);
            self.open.remove(&path);
        }
    }

    /// Somebody on this machine has the file open for writing.
    pub(super) fn is_open(&self, path: &Path) -> bool {
        self.open.contains_key(path)
    }
}
