//! FNV-1a with 64 bits: a hash that is the same on every machine and in every version, unlike the standard library's.

/// What a hash of nothing is; every hash begins with it.
pub const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// `hash`, continued over `bytes`.
pub fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

const PRIME: u64 = 0x0100_0000_01b3;
