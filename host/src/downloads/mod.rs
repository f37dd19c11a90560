//! Downloads: transferring files, the queue and its history, and putting what arrived into a library.

pub mod transfer;
