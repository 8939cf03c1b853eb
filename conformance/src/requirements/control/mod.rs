//! CONTROL: commands and their answers.

pub(super) mod fresh_trace_id;
pub(super) mod list_models;
pub(super) mod ping;
pub(super) mod trace_id;
pub(super) mod unknown_command;
pub(super) mod unload_needs_model;
