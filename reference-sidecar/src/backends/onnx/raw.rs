//! The one unsafe module: tensors over memory that we own, and ONNX Runtime's C `Run` on them.
//!
//! Why not the safe API: a step must read and write slices of the KV cache in place. Safe inputs are borrowed or owned
//! tensors and outputs are fresh ones, an `IoBinding` copies borrowed views (and deadlocks on CPU in ort 2.0.0-rc.15)
//! and ignores adapters. The C `Run` takes preallocated outputs, slot views and run options alike.
//!
//! Why it is sound: all memory belongs to an [`Arena`]. Rust sees it through [`Arena::get_mut`], ONNX
//! Runtime through [`View`]s while [`Arena::run`] runs, and both need the arena exclusively. So no Rust reference is alive while a view is read or written. A view keeps its memory allocated.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ffi::CString,
    marker::PhantomData,
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

use ort::{
    AsPointer as _,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    ortsys,
    session::Session,
    sys,
    value::{PrimitiveTensorElementType, Shape, TensorRefMut},
};

/// Element types for which all zero bits are a value, so that untouched memory is a valid slice.
pub(super) trait Element:
    PrimitiveTensorElementType + std::fmt::Debug + Copy + Send + 'static
{
}
impl Element for f32 {}
impl Element for i32 {}
impl Element for i64 {}

/// Owns the right to touch the memory of its regions.
#[derive(Debug, Default)]
pub(super) struct Arena {
    /// Tells this arena's regions from another's, whose right this one does not own.
    identity: Arc<()>,
}

impl Arena {
    /// Zeroed memory for `len` elements. Large regions are committed page by page when first written.
    pub(super) fn region<T: Element>(&self, len: usize) -> ort::Result<Region<T>> {
        let memory = Memory::zeroed(len.saturating_mul(size_of::<T>()))
            .ok_or_else(|| ort::Error::new("out of memory for tensors"))?;
        let owner = Arc::clone(&self.identity);
        Ok(Region { memory: Arc::new(memory), len, owner, element: PhantomData })
    }

    /// A region's contents.
    pub(super) fn get_mut<'a, T: Element>(&'a mut self, region: &'a Region<T>) -> &'a mut [T] {
        assert!(Arc::ptr_eq(&self.identity, &region.owner), "a region of this arena");
        // SAFETY: the memory holds `len` initialised elements, aligned to more than any element needs. The arena is
        // borrowed exclusively, so this is the only reference into any of its regions, and `run` cannot run meanwhile.
        unsafe { slice::from_raw_parts_mut(region.memory.start().cast().as_ptr(), region.len) }
    }

    /// A tensor of `shape` over the region's elements from `offset` on.
    pub(super) fn view<T: Element>(
        &self,
        region: &Region<T>,
        offset: usize,
        shape: &[usize],
    ) -> ort::Result<View> {
        assert!(Arc::ptr_eq(&self.identity, &region.owner), "a region of this arena");
        let len: usize = shape.iter().product();
        assert!(offset + len <= region.len, "a view inside its region");
        let device = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)?;
        let shape = Shape::new(shape.iter().map(|dim| *dim as i64));
        // SAFETY: `offset` lies inside the allocation (asserted), which lives as long as the view (`_memory`).
        let tensor = unsafe {
            let start = region.memory.start().cast::<T>().add(offset);
            TensorRefMut::<'static, T>::from_raw(device, start.as_ptr().cast(), shape)?
        };
        let value = tensor.ptr().cast_mut();
        Ok(View { value, _tensor: Box::new(tensor), _memory: Arc::clone(&region.memory) })
    }

    /// Runs the session over the binding's views.
    pub(super) fn run(&mut self, session: &mut Session, binding: &mut Binding) -> ort::Result<()> {
        assert!(Arc::ptr_eq(&self.identity, &binding.owner), "a binding of this arena");
        let Binding { input_names, inputs, output_names, outputs, .. } = binding;
        // SAFETY: names and values are alive (the binding owns them) and as many as is said. The arena is borrowed
        // exclusively, so no Rust reference aliases what the run reads and writes. A past and a present view may be
        // over the same memory: the operator is made for that. All outputs are given, so none is allocated.
        ortsys![unsafe Run(
            session.ptr_mut(),
            ptr::null(),
            input_names.as_ptr(),
            inputs.as_ptr(),
            inputs.len(),
            output_names.as_ptr(),
            outputs.len(),
            outputs.as_mut_ptr(),
        )?];
        Ok(())
    }

    /// Names the inputs and outputs of a run.
    pub(super) fn bind(
        &self,
        inputs: Vec<(Arc<CString>, Arc<View>)>,
        outputs: Vec<(Arc<CString>, Arc<View>)>,
    ) -> Binding {
        let names = |bound: &[(Arc<CString>, Arc<View>)]| bound.iter().map(|(n, _)| n.as_ptr()).collect();
        Binding {
            input_names: names(&inputs),
            inputs: inputs.iter().map(|(_, view)| view.value.cast_const()).collect(),
            output_names: names(&outputs),
            outputs: outputs.iter().map(|(_, view)| view.value).collect(),
            owner: Arc::clone(&self.identity),
            _kept: inputs.into_iter().chain(outputs).collect(),
        }
    }
}

/// `len` elements that an arena may touch.
#[derive(Debug)]
pub(super) struct Region<T> {
    memory: Arc<Memory>,
    len: usize,
    owner: Arc<()>,
    element: PhantomData<T>,
}

/// ONNX Runtime's value over a part of a region.
pub(super) struct View {
    value: *mut sys::OrtValue,
    _tensor: Box<dyn Send>,
    _memory: Arc<Memory>,
}

// SAFETY: the pointer is `_tensor`'s, which may move between threads; it is only used by `Arena::run`, exclusively.
unsafe impl Send for View {}
// SAFETY: a shared view offers nothing to do.
unsafe impl Sync for View {}

/// The arguments of a run, ready for the C call: made once, used for every step of one shape.
pub(super) struct Binding {
    input_names: Vec<*const std::ffi::c_char>,
    inputs: Vec<*const sys::OrtValue>,
    output_names: Vec<*const std::ffi::c_char>,
    outputs: Vec<*mut sys::OrtValue>,
    owner: Arc<()>,
    _kept: Vec<(Arc<CString>, Arc<View>)>,
}

// SAFETY: the pointers are to what `_kept` owns, which is `Send`; they are only used by `Arena::run`, exclusively.
unsafe impl Send for Binding {}

/// One allocation. Its contents are touched only as the arena allows.
#[derive(Debug)]
struct Memory {
    block: NonNull<u8>,
    layout: Layout,
}

// SAFETY: plain memory, owned; access is the arena's to order.
unsafe impl Send for Memory {}
// SAFETY: as above; a shared `Memory` offers its address only.
unsafe impl Sync for Memory {}

impl Memory {
    /// Wider than any vector register, for the kernels' aligned fast paths.
    const ALIGN: usize = 64;

    fn zeroed(bytes: usize) -> Option<Self> {
        // Asking the allocator for the alignment would make it write the zeros, and so commit the memory; room to move
        // the start does not.
        let layout = Layout::from_size_align(bytes.checked_add(Self::ALIGN)?, 16).ok()?;
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { block, layout })
    }

    fn start(&self) -> NonNull<u8> {
        let skip = self.block.as_ptr().align_offset(Self::ALIGN);
        // SAFETY: `skip` is less than `ALIGN`, by which the block is larger than what was asked for.
        unsafe { self.block.add(skip) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout, once.
        unsafe { dealloc(self.block.as_ptr(), self.layout) }
    }
}
