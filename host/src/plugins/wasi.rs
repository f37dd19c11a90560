//! WASI 0.2 for components of languages whose runtime does not start without it: an empty one. No files, sockets, names of
//! hosts, environment or arguments; clocks and random numbers are there, and what is printed goes to the log.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, async_trait};

use super::instance::CallState;

/// The packages of WASI that there are, empty or not.
const PACKAGES: [&str; 6] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Most random bytes in one answer.
const MAX_RANDOM: u64 = 1 << 20;
/// How much of what a call prints is kept, in bytes: its end, where a language says what went wrong.
const MAX_PRINTED: usize = 4 << 10;
/// What a runtime may write at once, in bytes.
const CHUNK: usize = 64 << 10;

/// Whether an import is one of those.
pub(super) fn serves(import: &str) -> bool {
    let is_package = PACKAGES.iter().any(|package| import.starts_with(package));
    is_package
        && import
            .rsplit_once('@')
            .is_some_and(|(_, version)| version.starts_with("0.2."))
}

/// Adds WASI to what a component is linked with, where it imports some.
pub(super) fn add_to_linker(linker: &mut Linker<CallState>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let ty = component.component_type();
    if ty.imports(&engine).any(|(name, _)| serves(name)) {
        wasmtime_wasi::p2::add_to_linker_async(linker)?;
    }
    Ok(())
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let printed = &self.printed;
        WasiCtxView {
            // Made when a guest asks for it, which most never do.
            ctx: self.wasi.get_or_insert_with(|| empty(printed)),
            table: &mut self.table,
        }
    }
}

fn empty(printed: &Printed) -> WasiCtx {
    WasiCtx::builder()
        .stdout(printed.clone())
        .stderr(printed.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MAX_RANDOM)
        .build()
}

/// The end of what a call printed, to whichever stream.
#[derive(Clone, Default)]
pub(super) struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn add(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let beyond = kept.len().saturating_sub(MAX_PRINTED);
        kept.drain(..beyond);
    }

    /// Takes it as text; none when nothing was printed.
    pub fn take(&self) -> Option<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.add(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

impl AsyncWrite for Printed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.add(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_is_printed_is_kept() {
        let printed = Printed::default();
        assert_eq!(printed.take(), None);
        printed.add(&vec![b'x'; 2 * MAX_PRINTED]);
        printed.add(b"\nValueError: no\n");
        let text = printed.take().unwrap_or_default();
        assert!(
            text.ends_with("x\nValueError: no") && text.len() <= MAX_PRINTED,
            "{text}"
        );
        assert_eq!(printed.take(), None);
    }

    #[test]
    fn what_is_there_of_wasi_is_told_from_the_rest() {
        for name in ["wasi:io/streams@0.2.0", "wasi:clocks/wall-clock@0.2.6"] {
            assert!(serves(name), "{name}");
        }
        for name in [
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:io/streams@0.3.0",
            "wasi:iota/x@0.2.0",
            "wasi:io/streams",
            "modelshelf:plugin/log@0.1.0",
        ] {
            assert!(!serves(name), "{name}");
        }
    }
}
