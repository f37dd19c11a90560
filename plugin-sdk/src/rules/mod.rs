//! Rules that several model types share.

pub mod base_model;
pub mod file_choice;
pub mod header;
pub mod merge;
pub mod query;
pub mod remote_type;
mod tensors;
