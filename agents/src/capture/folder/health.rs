//! What page and `doctor` say of a watched folder.

use super::files::Skipped;
use crate::health::{Finding, Level};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The state of one watched folder, shared between the watcher and whoever asks.
#[derive(Debug, Clone)]
pub struct FolderHealth {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// Why the folder cannot be used.
    fault: Option<String>,
    /// Files that were taken or refused and cannot be moved away, with the reason of the last.
    stuck: usize,
    stuck_reason: String,
    /// Files that stand still and are open, or are not whole.
    unfinished: usize,
    /// Sub-folders too deep, or behind links.
    skipped: Skipped,
}

impl FolderHealth {
    /// Of a folder that nobody has looked at yet.
    #[must_use]
    pub fn of(root: PathBuf) -> Self {
        Self { root, state: Arc::default() }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn fault(&self, fault: Option<String>) {
        self.with(|state| state.fault = fault);
    }

    pub(super) fn counted(&self, stuck: usize, unfinished: usize) {
        self.with(|state| (state.stuck, state.unfinished) = (stuck, unfinished));
    }

    /// Sub-folders that are not looked into; true when that is news.
    pub(super) fn skipped(&self, skipped: Skipped) -> bool {
        self.with(|state| std::mem::replace(&mut state.skipped, skipped.clone()) != skipped)
    }

    pub(super) fn stuck_because(&self, reason: String) {
        self.with(|state| state.stuck_reason = reason);
    }

    /// What a person should know; nothing while all is well. Does not touch the disk.
    #[must_use]
    pub fn troubles(&self) -> Vec<Finding> {
        let state = self.with(|state| state.clone());
        let shown = self.root.display();
        let mut found = Vec::new();
        if let Some(fault) = &state.fault {
            found.push(Finding::new(
                "folder",
                Level::Bad,
                format!("监视目录无法使用 {shown}：{fault}；请检查目录是否存在、网络共享是否已挂载、权限是否正确；恢复后自动继续，无需重启"),
                format!("watched folder {shown} cannot be used: {fault}; check that it exists, is mounted and may be written; it is tried again by itself"),
            ));
        }
        if state.stuck > 0 {
            let (n, why) = (state.stuck, &state.stuck_reason);
            found.push(Finding::new(
                "folder",
                Level::Warning,
                format!("监视目录 {shown} 中有 {n} 个文件无法移走（{why}）：请检查该目录的写权限；将自动重试"),
                format!("{n} files in {shown} cannot be moved away ({why}): check that it may be written; it is tried again"),
            ));
        }
        if state.unfinished > 0 {
            let n = state.unfinished;
            found.push(Finding::new(
                "folder",
                Level::Warning,
                format!("监视目录 {shown} 中有 {n} 个文件尚未写完，尚未接收：请确认设备仍在写入，否则重新导出"),
                format!("{n} files in {shown} are not written to their end and are not taken yet: see whether the device still writes, or export them again"),
            ));
        }
        if state.skipped.dirs > 0 {
            let (n, first) = (state.skipped.dirs, &state.skipped.first);
            found.push(Finding::new(
                "folder",
                Level::Warning,
                format!("监视目录 {shown} 中有 {n} 个子目录层次过深（超过8层）或为链接，其中的文件不会被接收：{first}；请将文件移到较浅的目录"),
                format!("{n} sub-folders of {shown} are more than 8 levels deep, or links, and are not looked into: {first}; move their files up"),
            ));
        }
        found
    }
}
