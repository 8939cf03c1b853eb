//! Functions on sixteen floats at once.

use std::arch::x86_64::{
    __m512, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm512_add_ps, _mm512_div_ps, _mm512_fmadd_ps,
    _mm512_fnmadd_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_roundscale_ps, _mm512_scalef_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_sub_ps,
};

/// e to the power of each, within two units in the last place (the polynomial is Cephes' `expf`).
#[target_feature(enable = "avx512f")]
pub(crate) fn exp(x: __m512) -> __m512 {
    let x = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(88.0)), _mm512_set1_ps(-87.5));
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm512_mul_ps(
        x,
        _mm512_set1_ps(std::f32::consts::LOG2_E),
    ));
    // ln 2 in two parts, so that the rest is exact.
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693_359_4), x);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.121_944_4e-4), r);
    let mut p = _mm512_set1_ps(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
    }
    let p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), p, _mm512_add_ps(r, _mm512_set1_ps(1.0)));
    _mm512_scalef_ps(p, n)
}

/// x times the logistic function of x, of each.
#[target_feature(enable = "avx512f")]
pub(crate) fn silu(x: __m512) -> __m512 {
    let minus = _mm512_sub_ps(_mm512_setzero_ps(), x);
    _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0), exp(minus)))
}

#[cfg(test)]
mod tests {
    use std::arch::x86_64::{_mm512_loadu_ps, _mm512_storeu_ps};

    use super::*;

    #[target_feature(enable = "avx512f")]
    fn of_each(function: unsafe fn(__m512) -> __m512, x: [f32; 16]) -> [f32; 16] {
        let mut y = [0.0; 16];
        // SAFETY: sixteen floats, and the caller has the processor for it.
        unsafe { _mm512_storeu_ps(y.as_mut_ptr(), function(_mm512_loadu_ps(x.as_ptr()))) };
        y
    }

    #[test]
    fn they_are_those_of_the_library() {
        if !crate::available() {
            eprintln!("SKIPPED: this processor has no AVX-512 VNNI");
            return;
        }
        for first in -100..100_i16 {
            let x: [f32; 16] = std::array::from_fn(|lane| f32::from(first) + lane as f32 / 16.0);
            // SAFETY: the processor was asked.
            let (e, s) = unsafe { (of_each(exp, x), of_each(silu, x)) };
            for ((x, e), s) in x.into_iter().zip(e).zip(s) {
                let exact = f64::from(x).clamp(-87.5, 88.0).exp();
                assert!((f64::from(e) / exact - 1.0).abs() < 1e-6, "exp({x}) = {e}, expected {exact}");
                let exact = f64::from(x) / (1.0 + (-f64::from(x)).exp());
                assert!(
                    (f64::from(s) - exact).abs() < 1e-6 * exact.abs().max(1e-30),
                    "silu({x}) = {s}, expected {exact}"
                );
            }
        }
    }
}
