//! CONCURRENCY: many streams, cancel, deadline, overload.

pub(super) mod cancel_frees;
pub(super) mod streams_apart;
