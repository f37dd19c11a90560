//! `kv`: not served yet.

use super::super::instance::CallState;
use super::unsupported;
use super::wit::kv::Host;
use super::wit::types::Error;

impl Host for CallState {
    async fn get(&mut self, _key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        Ok(unsupported("kv"))
    }

    async fn set(&mut self, _key: String, _value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        Ok(unsupported("kv"))
    }

    async fn delete(&mut self, _key: String) -> wasmtime::Result<Result<(), Error>> {
        Ok(unsupported("kv"))
    }

    async fn list_keys(&mut self, _prefix: String) -> wasmtime::Result<Result<Vec<String>, Error>> {
        Ok(unsupported("kv"))
    }
}
