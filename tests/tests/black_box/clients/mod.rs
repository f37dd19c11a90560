//! Programs that were made for LoraManager, as they call it: their routes, headers and order, and what they read of the
//! answers. One file a group of clients.

mod absent_features;
mod extensions;
mod nodes;
mod programs;
mod progress;
