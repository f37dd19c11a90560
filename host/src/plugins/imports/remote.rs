//! `remote`: not served yet.

use super::super::instance::CallState;
use super::unsupported;
use super::wit::remote::{FetchRequest, FetchResponse, Host};
use super::wit::types::Error;

impl Host for CallState {
    async fn fetch(&mut self, _request: FetchRequest) -> wasmtime::Result<Result<FetchResponse, Error>> {
        Ok(unsupported("remote"))
    }
}
