//! STREAM: the shape of one generation.

pub(super) mod fresh_trace_id;
pub(super) mod index_dense;
pub(super) mod index_from_zero;
pub(super) mod index_in_order;
pub(super) mod no_request;
pub(super) mod nothing_after_last;
pub(super) mod one_last_message;
pub(super) mod reaches_last_message;
pub(super) mod starts_at_once;
pub(super) mod streamed;
pub(super) mod trace_id;
pub(super) mod whole_characters;
