//! The data folder: whether it can be written to, and the room on its disk.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use portcullis_model::Finding;
use rustix::fs::statvfs;

const FOLDER: &str = "disk.folder";
const SPACE: &str = "disk.space";
const NO_WRITING: &str =
    "make it writable for the user that runs the gateway, or name another with PORTCULLIS_DATA_DIR";

/// Less room than this, in bytes or in percent, is a warning.
const LITTLE: (u64, u64) = (1_000_000_000, 10);
/// Less room than this, in bytes, and writes soon fail.
const TOO_LITTLE: u64 = 100_000_000;

/// Looks at the data folder. `is_needed` says whether the gateway keeps something in it.
pub fn examine(folder: &Path, is_needed: bool) -> Vec<Finding> {
    let metadata = match folder.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return vec![missing(folder, is_needed)],
        Err(error) => return vec![unusable(folder, &error)],
    };
    vec![judge_folder(folder, &metadata), space(folder)]
}

fn missing(folder: &Path, is_needed: bool) -> Finding {
    let shown = folder.display();
    if !is_needed {
        return Finding::pass(FOLDER, format!("there is no data folder at {shown}, and none is needed"));
    }
    let parent = folder.ancestors().skip(1).find(|parent| parent.exists()).unwrap_or(Path::new("/"));
    match try_writing(parent) {
        Ok(()) => Finding::pass(FOLDER, format!("{shown} does not exist yet; the first start makes it")),
        Err(error) => unusable(folder, &error),
    }
}

fn judge_folder(folder: &Path, metadata: &Metadata) -> Finding {
    let shown = folder.display();
    if !metadata.is_dir() {
        return Finding::fail(FOLDER, format!("{shown} is not a folder"), NO_WRITING);
    }
    if let Err(error) = try_writing(folder) {
        return unusable(folder, &error);
    }
    match metadata.permissions().mode() & 0o007 {
        0 => Finding::pass(FOLDER, format!("{shown} can be written to")),
        _ => Finding::warn(
            FOLDER,
            format!("every user of this machine can look into {shown}"),
            format!("chmod 700 {shown}"),
        ),
    }
}

fn unusable(folder: &Path, error: &io::Error) -> Finding {
    Finding::fail(FOLDER, format!("{} cannot be written to: {error}", folder.display()), NO_WRITING)
}

/// Makes a file without a name, which leaves no trace. Rights alone tell nothing about a file system that is read-only.
fn try_writing(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}

fn space(folder: &Path) -> Finding {
    match statvfs(folder) {
        Ok(disk) => {
            judge_space(disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize))
        }
        Err(error) => {
            Finding::fail(SPACE, format!("the room on the disk is not known: {error}"), "check the disk and its mount")
        }
    }
}

fn judge_space(free: u64, all: u64) -> Finding {
    let percent = free.saturating_mul(100).checked_div(all).unwrap_or(0);
    let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    let text = format!("{} of {} are free ({percent} %)", gigabytes(free), gigabytes(all));
    let hint = "make room, or move the data folder to a larger disk; without room no write is accepted";
    match free {
        _ if free < TOO_LITTLE => Finding::fail(SPACE, text, hint),
        _ if free < LITTLE.0 || (percent < LITTLE.1 && free < 10 * LITTLE.0) => Finding::warn(SPACE, text, hint),
        _ => Finding::pass(SPACE, text),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;

    use super::*;

    const GB: u64 = 1_000_000_000;

    #[test]
    fn little_room_is_a_warning_and_none_a_failure() {
        assert_eq!(judge_space(50 * GB, 100 * GB).status, Status::Pass);
        assert_eq!(judge_space(40 * GB, 1_000 * GB).status, Status::Pass, "4 % of a large disk is enough");
        assert_eq!(judge_space(4 * GB, 100 * GB).status, Status::Warn);
        assert_eq!(judge_space(GB / 2, GB).status, Status::Warn);
        assert_eq!(judge_space(GB / 20, 100 * GB).status, Status::Fail);
    }

    #[test]
    fn a_folder_is_judged_by_writing_to_it() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o700)).expect("it is ours");
        let status = |folder: &Path, needed| examine(folder, needed)[0].status;
        assert_eq!(status(home.path(), true), Status::Pass);
        assert_eq!(std::fs::read_dir(home.path()).expect("a folder").count(), 0, "nothing is left there");
        assert_eq!(status(&home.path().join("later/data"), true), Status::Pass);
        assert_eq!(status(Path::new("/proc"), true), Status::Fail, "nobody can make a file there");
        assert_eq!(status(Path::new("/proc/none"), true), Status::Fail);
        assert_eq!(status(Path::new("/proc/none"), false), Status::Pass);
        let file = home.path().join("file");
        std::fs::write(&file, "").expect("writable");
        assert_eq!(status(&file, true), Status::Fail);
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
        assert_eq!(status(home.path(), true), Status::Warn);
    }
}
