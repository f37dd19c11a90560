//! The server from outside: each test starts the real binary on files of its own. One file a subject; the name of a
//! test is the sentence that it proves.

mod acts;
mod aliases;
mod common_routes;
mod corrupt;
mod deleting;
mod editing;
mod filters;
mod gate;
mod groups;
mod hashing;
mod incremental;
mod killed;
mod libraries;
mod listing;
mod moves;
mod not_yet;
mod odd_names;
mod offline;
mod pages;
mod plugin_faults;
mod plugin_routes;
mod previews;
mod queries;
mod renaming;
mod restart;
mod safety;
mod scan;
mod search;
mod settings;
mod sorting;
mod thumbnails;
mod trees;
mod waiting;
mod watching;
mod websocket;
