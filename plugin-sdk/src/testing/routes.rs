//! The fake host's route table.

use std::cell::RefCell;

use crate::{Method, Pair, PluginError, Result};

struct Entry {
    method: &'static str,
    path: String,
    handler: String,
}

/// Routes of one type, with the prefix filled in.
pub struct RouteTable {
    prefix: String,
    entries: RefCell<Vec<Entry>>,
}

impl RouteTable {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            entries: RefCell::new(Vec::new()),
        }
    }

    pub(crate) fn add(&self, method: Method, template: &str, handler: &str) -> Result<()> {
        let Some(rest) = template
            .strip_prefix("/api/lm/{prefix}/")
            .filter(|rest| !rest.is_empty())
        else {
            return Err(PluginError::invalid(format!(
                "`{template}` does not start with /api/lm/{{prefix}}/"
            )));
        };
        let path = format!("/api/lm/{}/{rest}", self.prefix);
        let mut entries = self.entries.borrow_mut();
        if entries
            .iter()
            .any(|entry| entry.method == method.as_str() && entry.path == path)
        {
            return Err(PluginError::Conflict(format!(
                "{} {path} is there already",
                method.as_str()
            )));
        }
        entries.push(Entry {
            method: method.as_str(),
            path,
            handler: handler.to_owned(),
        });
        Ok(())
    }

    pub(super) fn listed(&self) -> Vec<(String, String)> {
        self.entries
            .borrow()
            .iter()
            .map(|entry| (entry.method.to_owned(), entry.path.clone()))
            .collect()
    }

    /// The handler of a path, and the values of its placeholders.
    pub(super) fn find(&self, method: &str, path: &str) -> Option<(String, Vec<Pair>)> {
        let entries = self.entries.borrow();
        let mut fitting = entries.iter().filter(|entry| entry.method == method);
        fitting.find_map(|entry| Some((entry.handler.clone(), fit(&entry.path, path)?)))
    }
}

fn fit(template: &str, path: &str) -> Option<Vec<Pair>> {
    let (wanted, given): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    if wanted.len() != given.len() {
        return None;
    }
    let mut params = Vec::new();
    for (wanted, given) in wanted.into_iter().zip(given) {
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => params.push((name.to_owned(), decoded(given))),
            None if wanted == given => {}
            None => return None,
        }
    }
    Some(params)
}

pub(super) fn query_pairs(query: &str) -> Vec<Pair> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| core::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
