//! Criterion benches of the hot paths; run with `cargo bench -p benches`. There is no code here but the benches.
