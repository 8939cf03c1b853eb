//! The hot paths, a case each: what a token costs besides the model, in the sidecar and in the benchmark's client.
//!
//! One list, measured in two ways: by the clock (`cargo bench -p benches`, criterion) and by counting instructions
//! (`ci/instructions`, valgrind), which no neighbour on the machine changes.

mod client;
mod sidecar;

/// Something that is done again and again.
pub type Work = Box<dyn FnMut()>;

/// A hot path.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// In reports; the part before the slash is the place in the code.
    pub name: &'static str,
    /// Makes all that the work needs, so that the work is nothing else.
    pub prepare: fn() -> Work,
}

/// All cases.
pub const ALL: [Case; 15] = [
    sidecar::GREEDY,
    sidecar::TOP_P,
    sidecar::DETOKENISER,
    sidecar::CONTRACT_CODEC,
    sidecar::CY_LLM_CODEC,
    sidecar::SCHEDULER_16,
    sidecar::SCHEDULER_256,
    client::CONTRACT_CHUNK,
    client::CY_LLM_CHUNK,
    client::WHOLE_FRAMES,
    client::CUT_FRAMES,
    client::PACER,
    client::REPORT,
    client::WRITE,
    client::READ,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_can_be_done_twice() {
        let names: BTreeSet<_> = ALL.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), ALL.len());
        for case in ALL {
            let mut work = (case.prepare)();
            work();
            work();
        }
    }
}
