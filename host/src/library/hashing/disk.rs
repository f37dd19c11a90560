//! Which disk a file is on, and what tells its content without reading it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

#[cfg(target_os = "linux")]
use crate::files::foreign;
use crate::library::record::Stamp;
use crate::library::store::FileKey;

/// File systems that make inodes up while they are mounted (FAT and exFAT, by their magic
/// numbers): an inode says nothing there later on. Source: statfs(2).
#[cfg(target_os = "linux")]
const PASSING_INODES: [u64; 2] = [0x4D44, 0x2011_BAB0];

/// What is known of a mounted file system.
#[derive(Debug, Clone, Copy)]
struct Volume {
    /// The device that it lies on, the same for all partitions of a disk.
    disk: u64,
    /// The file system's own id; none where inodes do not last.
    lasting: Option<u64>,
}

/// Remembers what the system says of volumes.
#[derive(Debug, Default)]
pub struct Disks(Mutex<HashMap<u64, Volume>>);

impl Disks {
    /// The disk of a file, and its key where its inode lasts. Looks at the file's device only.
    ///
    /// # Errors
    /// When the file is not there.
    pub fn of(&self, path: &Path, stamp: &Stamp) -> std::io::Result<(u64, Option<FileKey>)> {
        let device = device(&std::fs::metadata(path)?);
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known_volume = known().get(&device).copied();
        let volume = known_volume.unwrap_or_else(|| {
            let volume = volume(path, device);
            known().insert(device, volume);
            volume
        });
        let key = volume.lasting.filter(|_| stamp.inode != 0).map(|disk| FileKey {
            disk,
            inode: stamp.inode,
            size: stamp.size,
            mtime_ns: stamp.mtime_ns,
        });
        Ok((volume.disk, key))
    }
}

#[cfg(unix)]
fn device(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::dev(metadata)
}

#[cfg(not(unix))]
fn device(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(unix)]
fn volume(path: &Path, device: u64) -> Volume {
    #[cfg(target_os = "linux")]
    let passing = rustix::fs::statfs(path).is_ok_and(|about| PASSING_INODES.contains(&(about.f_type as u64)));
    #[cfg(not(target_os = "linux"))]
    let passing = false;
    // Device numbers may change with every start; some file systems have nothing better.
    let id = rustix::fs::statvfs(path).map_or(0, |about| about.f_fsid);
    Volume {
        disk: whole_disk(device),
        lasting: (!passing).then_some(if id == 0 { device } else { id }),
    }
}

#[cfg(not(unix))]
fn volume(_: &Path, device: u64) -> Volume {
    Volume {
        disk: device,
        lasting: None,
    }
}

/// The number of the disk that a partition lies on; any other device stands for itself.
#[cfg(target_os = "linux")]
fn whole_disk(device: u64) -> u64 {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let folder = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
    if !folder.join("partition").exists() {
        return device;
    }
    let number = foreign::kernel_text(&folder.join("../dev"));
    let whole = number.as_deref().and_then(|text| {
        let (major, minor) = text.trim().split_once(':')?;
        Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
    });
    whole.unwrap_or(device)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn whole_disk(device: u64) -> u64 {
    device
}
