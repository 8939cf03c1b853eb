//! A slice whose parts several threads write.

use std::marker::PhantomData;

/// A slice that is written in disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    _slice: PhantomData<&'a mut [T]>,
}

// SAFETY: access is by `at`, whose caller promises that parts do not overlap.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub(crate) const fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), _slice: PhantomData }
    }

    /// The part of `len` from `offset` on.
    ///
    /// # Safety
    /// No other thread uses that part while it is in use.
    pub(crate) unsafe fn at(&self, offset: usize, len: usize) -> *mut T {
        assert!(offset + len <= self.len, "a part of the slice");
        // SAFETY: inside the slice (asserted).
        unsafe { self.start.add(offset) }
    }
}
