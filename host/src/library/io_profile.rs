//! How the disk under a root wants to be treated.

use std::path::Path;

use serde::Deserialize;

#[cfg(target_os = "linux")]
use crate::files::foreign;

/// What kind of storage a root is on: how many files are worked on at once, whether its events
/// can be trusted, and whether reading whole files is cheap enough to do unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IoProfile {
    /// Solid state: many at once.
    Fast,
    /// A rotating disk: one at a time, since seeking costs more than reading.
    Hdd,
    /// A share on another machine: few at once, looked at from time to time since events of
    /// other machines do not arrive, and hashed only when somebody asks.
    Network,
}

impl IoProfile {
    /// The word that settings use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Hdd => "hdd",
            Self::Network => "network",
        }
    }

    /// Folders of a root that are looked through at the same time.
    pub fn walkers(self) -> usize {
        match self {
            Self::Fast => 4,
            Self::Hdd => 1,
            Self::Network => 2,
        }
    }

    /// Sidecars and headers of a root that are read at the same time.
    pub fn readers(self) -> usize {
        self.walkers()
    }

    /// What the system says of the disk that holds a folder; `Fast` where it says nothing.
    pub fn of_disk(folder: &Path) -> Self {
        detect(folder).unwrap_or(Self::Fast)
    }
}

/// Magic numbers of file systems on other machines: NFS, SMB 1, CIFS, SMB 2, AFS, Ceph, 9P and
/// Coda. Source: statfs(2). FUSE is not among them: local disks are mounted through it too.
#[cfg(target_os = "linux")]
const REMOTE: [u64; 8] = [
    0x6969,
    0x517B,
    0xFF53_4D42,
    0xFE53_4D42,
    0x5346_414F,
    0x00C3_6400,
    0x0102_1997,
    0x7375_7245,
];

#[cfg(target_os = "linux")]
fn detect(folder: &Path) -> Option<IoProfile> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type as u64;
    if REMOTE.contains(&(kind & 0xFFFF_FFFF)) {
        return Some(IoProfile::Network);
    }
    let device = rustix::fs::stat(folder).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let block = format!("/sys/dev/block/{major}:{minor}");
    // What a virtual disk says of itself says nothing of the disk of its host.
    if std::fs::canonicalize(&block).is_ok_and(|device| device.components().any(is_virtual)) {
        return Some(IoProfile::Fast);
    }
    // A partition has its queue one level up.
    let rotational = ["queue/rotational", "../queue/rotational"]
        .iter()
        .find_map(|file| foreign::kernel_text(&Path::new(&block).join(file)))?;
    Some(match rotational.trim() {
        "1" => IoProfile::Hdd,
        _ => IoProfile::Fast,
    })
}

#[cfg(target_os = "linux")]
fn is_virtual(part: std::path::Component) -> bool {
    let name = part.as_os_str().to_string_lossy();
    ["virtio", "vbd-", "vmbus"].iter().any(|bus| name.starts_with(bus))
}

#[cfg(not(target_os = "linux"))]
fn detect(_: &Path) -> Option<IoProfile> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_counts_as_fast() {
        assert_eq!(IoProfile::of_disk(Path::new("/no/such/folder")), IoProfile::Fast);
    }
}
