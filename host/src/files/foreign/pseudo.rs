//! File systems that hold no files of people: the kernel makes their content when it is read, without end in places.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use super::ForeignError;

/// Refuses to walk a folder of such a file system.
///
/// # Errors
/// [`ForeignError::Pseudo`], or why the folder can't be looked at.
pub fn check_folder(path: &Path) -> Result<(), ForeignError> {
    let metadata = path.metadata().map_err(|source| ForeignError::io(path, source))?;
    check_path(path, &metadata)
}

/// The text of a small file of the kernel below `/proc` or `/sys`, which the door refuses otherwise; at most 4 KiB.
pub fn kernel_text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(4096).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(target_os = "linux")]
pub(super) fn check_path(path: &Path, metadata: &Metadata) -> Result<(), ForeignError> {
    refuse(path, linux::name_of(metadata, || rustix::fs::statfs(path)))
}

#[cfg(target_os = "linux")]
pub(super) fn check_file(path: &Path, metadata: &Metadata, file: &File) -> Result<(), ForeignError> {
    refuse(path, linux::name_of(metadata, || rustix::fs::fstatfs(file)))
}

#[cfg(target_os = "linux")]
fn refuse(path: &Path, filesystem: Option<&'static str>) -> Result<(), ForeignError> {
    match filesystem {
        None => Ok(()),
        Some(filesystem) => Err(ForeignError::Pseudo {
            path: path.to_owned(),
            filesystem,
        }),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn check_path(_: &Path, _: &Metadata) -> Result<(), ForeignError> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn check_file(_: &Path, _: &Metadata, _: &File) -> Result<(), ForeignError> {
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt;
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::{Duration, Instant};

    use rustix::fs::StatFs;

    /// How long a device number stands for the file system that was found under it: numbers are given again.
    const KNOWN: Duration = Duration::from_secs(30);

    /// Numbers of `statfs`. Source: `include/uapi/linux/magic.h` and the file systems' own sources in Linux 6.12.
    const PSEUDO: [(u32, &str); 23] = [
        (0x0000_9fa0, "proc"),
        (0x6265_6572, "sysfs"),
        (0x0000_1cd1, "devpts"),
        (0x0027_e0eb, "cgroup"),
        (0x6367_7270, "cgroup2"),
        (0x6462_6720, "debugfs"),
        (0x7472_6163, "tracefs"),
        (0x7363_6673, "securityfs"),
        (0xf97c_ff8c, "selinuxfs"),
        (0x4341_5d53, "smackfs"),
        (0x5a3c_69f0, "apparmorfs"),
        (0xcafe_4a11, "bpf"),
        (0x6165_676c, "pstore"),
        (0xde5e_81e4, "efivarfs"),
        (0x6265_6570, "configfs"),
        (0x4249_4e4d, "binfmt_misc"),
        (0x1980_0202, "mqueue"),
        (0x6e73_6673, "nsfs"),
        (0x6573_5543, "fusectl"),
        (0x0765_5821, "resctrl"),
        (0x6759_6969, "rpc_pipefs"),
        (0x6e66_7364, "nfsd"),
        (0x0000_9fa2, "usbdevfs"),
    ];

    type Known = HashMap<u64, (Instant, Option<&'static str>)>;

    /// The name of a pseudo file system; none of one that holds files. `statfs` is asked once for each device and half a
    /// minute, since on network shares it is a question to the server.
    pub fn name_of(metadata: &Metadata, statfs: impl FnOnce() -> rustix::io::Result<StatFs>) -> Option<&'static str> {
        static DEVICES: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        let (device, now) = (metadata.dev(), Instant::now());
        let is_current = |at: &Instant| now.saturating_duration_since(*at) < KNOWN;
        {
            let known = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, name)) = known.get(&device).filter(|(at, _)| is_current(at)) {
                return *name;
            }
        }
        // A file system that can't say what it is holds files, as far as anybody knows.
        let number = statfs().ok()?.f_type as u32;
        let name = PSEUDO.iter().find(|(own, _)| *own == number).map(|(_, name)| *name);
        let mut known = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| is_current(at));
        known.insert(device, (now, name));
        name
    }
}
