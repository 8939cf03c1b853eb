//! How many slots and threads a model gets, and whether it fits: from the memory that is free and the cores that compute.

/// Slots for a model whose full slot takes `per_slot` bytes: as many as the cores can use, in half of the free memory,
/// which leaves as much for other models and everything else.
pub(super) fn slots(per_slot: u64, free: Option<u64>, cores: usize) -> usize {
    let useful = (cores * SLOTS_A_CORE).clamp(1, MOST_SLOTS);
    let fitting = free.map_or(useful as u64, |free| free / 2 / per_slot.max(1));
    useful.min(usize::try_from(fitting).unwrap_or(usize::MAX)).max(1)
}

/// Threads for a step of a model with so many bytes of weights.
pub(super) fn threads(weights: u64, most: usize) -> usize {
    if weights < SHARED_WORK { 1 } else { most }
}

/// To hand a part of a step to another thread, and to wait for it, costs more than to read so few weights.
const SHARED_WORK: u64 = 4 << 20;

/// Rows of a decode step that one core still turns into more tokens a second: with an int8 model on two cores 8 rows gave
/// 458 tokens/s, 16 gave 524, and more only made each stream slower.
const SLOTS_A_CORE: usize = 8;

/// Beyond, the sampler and the step's gaps weigh more than the rows bring.
const MOST_SLOTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_very_small_model_is_computed_by_one_thread() {
        assert_eq!((threads(MIB, 8), threads(100 * MIB, 8), threads(0, 1)), (1, 8, 1));
    }

    #[test]
    fn cores_and_memory_both_bound_the_slots() {
        assert_eq!(slots(MIB, None, 2), 16);
        assert_eq!(slots(MIB, Some(1000 * MIB), 64), MOST_SLOTS);
        assert_eq!(slots(90 * MIB, Some(1800 * MIB), 2), 10, "half of the memory");
        assert_eq!(slots(90 * MIB, Some(MIB), 2), 1, "one slot at least: loading says whether it fits");
        assert_eq!(slots(0, Some(0), 0), 1);
    }
}
