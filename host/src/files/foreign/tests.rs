use std::io::Write;
use std::path::PathBuf;

use super::*;

fn folder() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, move |name: &str| path.join(name))
}

#[test]
fn a_file_is_read_up_to_the_bound_and_not_beyond() {
    let (_folder, path) = folder();
    std::fs::write(path("a"), "0123456789").unwrap();
    assert_eq!(read(&path("a"), 10).unwrap().unwrap(), b"0123456789");
    assert_eq!(read_text(&path("a"), 11).unwrap().unwrap(), "0123456789");
    let error = read(&path("a"), 9).unwrap_err();
    assert!(matches!(error, ForeignError::TooLarge { max: 9, .. }), "{error}");
    assert!(error.to_string().contains("/a has more than 9 bytes"), "{error}");
    std::fs::write(path("b"), [0xff]).unwrap();
    assert!(matches!(read_text(&path("b"), 9), Err(ForeignError::NotText(_))));
    std::fs::write(path("c"), "").unwrap();
    assert_eq!(read(&path("c"), 0).unwrap().unwrap(), b"");
}

#[test]
fn a_file_that_grows_while_it_is_read_stays_within_the_bound() {
    let (_folder, path) = folder();
    std::fs::write(path("a"), "01234").unwrap();
    let mut file = ForeignFile::existing(&path("a")).unwrap();
    let mut writer = std::fs::File::options().append(true).open(path("a")).unwrap();
    writer.write_all(&[b'x'; 1 << 16]).unwrap();
    assert_eq!(file.len(), 5);
    assert!(matches!(file.read_at_most(100), Err(ForeignError::TooLarge { .. })));
}

#[test]
fn only_a_name_that_nothing_has_is_absent() {
    let (_folder, path) = folder();
    assert!(read(&path("none"), 9).unwrap().is_none());
    assert!(read(&path("none/below"), 9).unwrap().is_none());
    assert!(read(&path(&"x".repeat(300)), 9).unwrap().is_none());
    std::fs::write(path("file"), "").unwrap();
    assert!(read(&path("file/below"), 9).unwrap().is_none());
    assert!(!is_taken(&path("none")) && is_taken(&path("file")));
    let error = ForeignFile::existing(&path("none")).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), ErrorKind::NotFound);
}

#[test]
fn a_folder_is_no_file() {
    let (folder, _) = folder();
    let error = read(folder.path(), 9).unwrap_err();
    assert!(error.to_string().contains("is a folder, not a regular file"), "{error}");
    assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_that_leads_nowhere_is_offline_wherever_it_is_in_the_path() {
        let (_folder, path) = folder();
        symlink("/nowhere/disk/a", path("a")).unwrap();
        symlink("/nowhere/disk", path("sub")).unwrap();
        symlink(path("loop"), path("loop")).unwrap();
        for (name, target) in [("a", "/nowhere/disk/a"), ("sub/b", "/nowhere/disk")] {
            let error = read(&path(name), 9).unwrap_err();
            assert!(error.is_offline() && error.to_string().contains(target), "{error}");
            assert_ne!(io::Error::from(error).kind(), ErrorKind::NotFound);
        }
        assert!(read(&path("loop"), 9).unwrap_err().is_offline());
        assert!(is_taken(&path("a")) && dangling(&path("a")).is_some());
        // The target comes back.
        std::fs::write(path("target"), "x").unwrap();
        std::fs::remove_file(path("a")).unwrap();
        symlink(path("target"), path("a")).unwrap();
        assert_eq!(read(&path("a"), 9).unwrap().unwrap(), b"x");
        assert!(dangling(&path("a")).is_none());
    }

    #[test]
    fn a_link_is_refused_where_links_are() {
        let (_folder, path) = folder();
        std::fs::write(path("a"), "x").unwrap();
        symlink(path("a"), path("b")).unwrap();
        symlink("/nowhere", path("c")).unwrap();
        for name in ["b", "c"] {
            let opened = ForeignFile::open(&path(name), Links::Refuse);
            assert!(matches!(opened, Err(ForeignError::Link(_))), "{name}: {opened:?}");
        }
        assert!(ForeignFile::open(&path("a"), Links::Refuse).unwrap().is_some());
        assert!(ForeignFile::open(&path("none"), Links::Refuse).unwrap().is_none());
    }

    /// None of these may block: a hang of this test is the fault that it looks for.
    #[test]
    fn pipes_sockets_and_devices_are_refused_at_once() {
        let (_folder, path) = folder();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), rustix::fs::Mode::RWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        symlink(path("pipe"), path("to-pipe")).unwrap();
        for (name, kind) in [
            ("pipe", "a pipe"),
            ("to-pipe", "a pipe"),
            ("socket", "a socket"),
            ("zero", "a device"),
        ] {
            let error = read(&path(name), u64::MAX).unwrap_err().to_string();
            assert!(error.contains(kind) && error.contains(name), "{error}");
            let mut write = std::fs::File::options();
            let opened = ForeignFile::open_with(write.write(true), &path(name), Links::Follow);
            assert!(matches!(opened, Err(ForeignError::NotRegular { .. })), "{name}");
        }
    }

    #[test]
    fn a_new_file_is_made_where_nothing_is_and_never_through_a_link_that_leads_nowhere() {
        let (_folder, path) = folder();
        let mut options = std::fs::File::options();
        options.append(true).create(true);
        let made = ForeignFile::open_with(&mut options, &path("new"), Links::Follow).unwrap();
        assert!(made.is_some_and(|made| made.is_empty()));
        symlink(path("elsewhere"), path("link")).unwrap();
        let opened = ForeignFile::open_with(&mut options, &path("link"), Links::Follow);
        assert!(opened.unwrap_err().is_offline() && !path("elsewhere").exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn files_and_folders_of_the_kernel_are_refused() {
        let (folder, path) = folder();
        // A regular file, which blocks whoever reads it to its end.
        symlink("/proc/kmsg", path("a.metadata.json")).unwrap();
        let error = read(&path("a.metadata.json"), 9).unwrap_err();
        assert!(
            matches!(error, ForeignError::Pseudo { filesystem: "proc", .. }),
            "{error}"
        );
        assert!(matches!(
            check_folder(Path::new("/sys")),
            Err(ForeignError::Pseudo {
                filesystem: "sysfs",
                ..
            })
        ));
        check_folder(folder.path()).unwrap();
    }
}
