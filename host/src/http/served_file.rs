//! One file as an answer, opened through the door and streamed, with ranges and conditions as HTTP has them.

use std::fs::Metadata;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, File};

use crate::files::foreign::{self, ForeignFile, Links};

/// A file whose path has no links any more.
#[derive(Debug, Clone)]
pub struct ServedFile(Arc<Path>);

impl ServedFile {
    /// The file at a path of which all links were resolved.
    pub fn new(path: &Path) -> Self {
        Self(path.into())
    }

    /// The answer to the conditions and the range of a request; its method and address do not matter.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub async fn answer(self, request: Request<Body>) -> io::Result<Response> {
        let mut service = ServeDir::with_backend("", self).append_index_html_on_directories(false);
        service.try_call(request).await.map(|answer| answer.map(Body::new))
    }
}

type Later<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

impl Backend for ServedFile {
    type File = OpenFile;
    type Metadata = Metadata;
    type OpenFuture = Later<'static, OpenFile>;
    type MetadataFuture = Later<'static, Metadata>;

    fn open(&self, _: PathBuf) -> Self::OpenFuture {
        let path = self.0.clone();
        Box::pin(async move {
            let open = move || ForeignFile::open(&path, Links::Refuse);
            let opened = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
            let opened = opened.ok_or(io::ErrorKind::NotFound)?;
            let metadata = opened.metadata().clone();
            let file = tokio::fs::File::from_std(opened.into_file());
            Ok(OpenFile { file, metadata })
        })
    }

    fn metadata(&self, _: PathBuf) -> Self::MetadataFuture {
        let path = self.0.clone();
        Box::pin(async move {
            let look = move || foreign::inspect(&path, Links::Refuse);
            let metadata = tokio::task::spawn_blocking(look).await.map_err(io::Error::other)??;
            metadata.ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }
}

/// An open file of a [`ServedFile`].
#[derive(Debug)]
pub struct OpenFile {
    file: tokio::fs::File,
    metadata: Metadata,
}

impl AsyncRead for OpenFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(context, buffer)
    }
}

impl AsyncSeek for OpenFile {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}

impl File for OpenFile {
    type Metadata = Metadata;
    type MetadataFuture<'a> = Later<'a, Metadata>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        Box::pin(async { Ok(self.metadata.clone()) })
    }
}
