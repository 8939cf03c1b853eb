//! The arithmetic of [`attention`](super::attention): what queries read out of keys and values.

use std::{
    arch::x86_64::{
        __m512, _mm_add_ps, _mm_storeu_ps, _mm256_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps,
        _mm512_add_ps, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castps512_ps256, _mm512_extractf32x8_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_mov_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
        _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
        _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    },
    cell::RefCell,
};

use super::{float::exp, int8::LANES, shared::SharedMut};

/// One query: where it is, and its answer will be, and how many keys it sees.
#[derive(Clone, Copy)]
pub(crate) struct Query {
    pub(crate) offset: usize,
    pub(crate) sees: usize,
}

thread_local! {
    /// Scores of the queries that a thread has at hand. ONNX Runtime's threads live as long as the session.
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// # Safety
/// The processor has AVX-512 F and DQ, `size` is a multiple of 16, and no other thread uses the queries' parts of
/// `out`.
#[target_feature(enable = "avx512f,avx512dq")]
pub(crate) unsafe fn attend(
    asked: impl Iterator<Item = Query>,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    size: usize,
    out: SharedMut<'_, f32>,
) {
    let mut few = [Query { offset: 0, sees: 0 }; QUERIES];
    let mut count = 0;
    let mut asked = asked.peekable();
    SCORES.with_borrow_mut(|scores| {
        while let Some(query) = asked.next() {
            few[count] = query;
            count += 1;
            if count < QUERIES && asked.peek().is_some() {
                continue;
            }
            let few = &few[..count];
            count = 0;
            let most = few.iter().map(|query| query.sees).max().unwrap_or(0);
            let stride = most.next_multiple_of(LANES);
            if scores.len() < few.len() * stride {
                scores.resize(few.len() * stride, 0.0);
            }
            // SAFETY: the caller's; the scores have room.
            unsafe {
                score(few, queries, keys, size, most, stride, scores);
                for (query, scores) in few.iter().zip(scores.chunks_exact_mut(stride)) {
                    soften(&mut scores[..query.sees.next_multiple_of(LANES)], query.sees);
                    mix(scores, query.sees, values, size, out.at(query.offset, size));
                }
            }
        }
    });
}

/// Products of each query with each key.
///
/// # Safety
/// As [`attend`]; `scores` has `few.len() * stride`, and `stride` is at least `most` and a multiple of four.
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn score(
    few: &[Query],
    queries: &[f32],
    keys: &[f32],
    size: usize,
    most: usize,
    stride: usize,
    scores: &mut [f32],
) {
    for four in (0..most).step_by(4) {
        // Keys past the last are read as the last: their scores are never looked at.
        let key = |at: usize| keys[(four + at).min(most - 1) * size..][..size].as_ptr();
        let k = [key(0), key(1), key(2), key(3)];
        for (at, query) in few.iter().enumerate() {
            let q = queries[query.offset..][..size].as_ptr();
            let mut sums = [_mm512_setzero_ps(); 4];
            for lane in (0..size).step_by(LANES) {
                // SAFETY: `lane + 16` is at most `size`, which all five have.
                unsafe {
                    let q = _mm512_loadu_ps(q.add(lane));
                    for (sum, k) in sums.iter_mut().zip(k) {
                        *sum = _mm512_fmadd_ps(q, _mm512_loadu_ps(k.add(lane)), *sum);
                    }
                }
            }
            let into = &mut scores[at * stride + four..][..4];
            // SAFETY: four floats are written, into four.
            unsafe { sum_each(sums, into.as_mut_ptr()) };
        }
    }
}

/// The sum of each of four vectors.
///
/// # Safety
/// `into` has room for four.
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn sum_each([a, b, c, d]: [__m512; 4], into: *mut f32) {
    let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    let low = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
    let abcd = _mm512_add_ps(low, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    let half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps::<1>(abcd));
    let sums = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
    // SAFETY: the caller's.
    unsafe { _mm_storeu_ps(into, sums) };
}

/// Softmax over the first `sees`; `scores` is padded to a multiple of 16.
#[target_feature(enable = "avx512f")]
unsafe fn soften(scores: &mut [f32], sees: usize) {
    let mask = |at: usize| if at + LANES <= sees { u16::MAX } else { (1 << (sees - at)) - 1 };
    let lowest = _mm512_set1_ps(f32::MIN);
    let mut most = lowest;
    for (at, scores) in scores.chunks_exact(LANES).enumerate() {
        // SAFETY: sixteen floats.
        let scores = unsafe { _mm512_loadu_ps(scores.as_ptr()) };
        most = _mm512_max_ps(most, _mm512_mask_mov_ps(lowest, mask(at * LANES), scores));
    }
    let most = _mm512_set1_ps(_mm512_reduce_max_ps(most));
    let mut sum = _mm512_setzero_ps();
    for (at, scores) in scores.chunks_exact_mut(LANES).enumerate() {
        let mask = mask(at * LANES);
        // SAFETY: sixteen floats; what is masked out is neither read nor written.
        unsafe {
            let e = exp(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, scores.as_ptr()), most));
            let e = _mm512_mask_mov_ps(_mm512_setzero_ps(), mask, e);
            _mm512_mask_storeu_ps(scores.as_mut_ptr(), mask, e);
            sum = _mm512_add_ps(sum, e);
        }
    }
    let inverse = _mm512_set1_ps(1.0 / _mm512_reduce_add_ps(sum));
    for scores in scores.chunks_exact_mut(LANES) {
        // SAFETY: sixteen floats.
        unsafe {
            let all = _mm512_loadu_ps(scores.as_ptr());
            _mm512_storeu_ps(scores.as_mut_ptr(), _mm512_mul_ps(all, inverse));
        }
    }
}

/// The values, weighed.
///
/// # Safety
/// `out` has room for `size`; otherwise as [`attend`].
#[target_feature(enable = "avx512f")]
unsafe fn mix(weights: &[f32], sees: usize, values: &[f32], size: usize, out: *mut f32) {
    let weights = &weights[..sees];
    for lane in (0..size).step_by(4 * LANES) {
        // SAFETY: `lane` plus that many vectors is at most `size`.
        unsafe {
            match (size - lane) / LANES {
                1 => mix_lanes::<1>(weights, values, size, lane, out),
                2 => mix_lanes::<2>(weights, values, size, lane, out),
                3 => mix_lanes::<3>(weights, values, size, lane, out),
                _ => mix_lanes::<4>(weights, values, size, lane, out),
            }
        }
    }
}

/// `W` vectors of the result, from `lane` on.
///
/// # Safety
/// As [`mix`], and `lane + 16 W` is at most `size`.
#[target_feature(enable = "avx512f")]
unsafe fn mix_lanes<const W: usize>(
    weights: &[f32],
    values: &[f32],
    size: usize,
    lane: usize,
    out: *mut f32,
) {
    let mut sums = [_mm512_setzero_ps(); W];
    for (weight, value) in weights.iter().zip(values.chunks_exact(size)) {
        let weight = _mm512_set1_ps(*weight);
        for (at, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's.
            let value = unsafe { _mm512_loadu_ps(value.as_ptr().add(lane + at * LANES)) };
            *sum = _mm512_fmadd_ps(weight, value, *sum);
        }
    }
    for (at, sum) in sums.into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_ps(out.add(lane + at * LANES), sum) };
    }
}

/// Queries that a key, once read, is multiplied with.
const QUERIES: usize = 8;
