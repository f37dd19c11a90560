//! Places at which tests end the process, to see what a crash leaves behind. Release builds have none.
//!
//! `MODELSHELF_FAULT` names a file. While it holds `act 3`, the third step on the disk that the next act takes ends the
//! process as `kill -9` does; `recovery 1` is the same for what a start takes back.

/// What is done on a thread while this lives counts as steps of `kind`.
#[must_use]
pub fn scope(kind: &'static str) -> Scope {
    #[cfg(debug_assertions)]
    armed::enter(kind);
    #[cfg(not(debug_assertions))]
    let _ = kind;
    Scope(())
}

/// Ends what [`scope`] began.
pub struct Scope(());

impl Drop for Scope {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        armed::leave();
    }
}

/// A step on the disk was taken, or is about to be.
pub fn step() {
    #[cfg(debug_assertions)]
    armed::step();
}

#[cfg(debug_assertions)]
mod armed {
    use std::cell::Cell;

    use crate::files::foreign;

    thread_local! {
        // Steps that are left, 0 for no end.
        static LEFT: Cell<u64> = const { Cell::new(0) };
    }

    pub fn enter(kind: &str) {
        let wanted =
            std::env::var_os("MODELSHELF_FAULT").and_then(|path| foreign::read_text(path.as_ref(), 4096).ok()?);
        let left = wanted.and_then(|wanted| wanted.strip_prefix(kind)?.trim().parse().ok());
        LEFT.set(left.unwrap_or(0));
    }

    pub fn leave() {
        LEFT.set(0);
    }

    pub fn step() {
        match LEFT.get() {
            0 => {}
            1 => die(),
            left => LEFT.set(left - 1),
        }
    }

    fn die() {
        #[cfg(unix)]
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        #[cfg(not(unix))]
        std::process::abort();
        // The signal may take a moment; nothing more is done meanwhile.
        loop {
            std::thread::park();
        }
    }
}
