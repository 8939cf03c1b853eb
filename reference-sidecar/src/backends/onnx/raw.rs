//! The one unsafe module: tensors over memory that we own, and ONNX Runtime's C API on them.
//!
//! Why not the safe API: a step must read and write slices of the KV cache in place. Safe inputs are borrowed or owned
//! tensors and outputs are fresh ones, an `IoBinding` copies borrowed views (and deadlocks on CPU in ort 2.0.0-rc.15)
//! and ignores adapters. The C `Run` takes preallocated outputs, slot views and run options alike.
//!
//! Why it is sound: all memory belongs to an [`Arena`]. Rust sees it through [`Arena::get_mut`], ONNX Runtime through
//! [`View`]s while [`Arena::run`] runs, and both need the arena exclusively. So no Rust reference is alive while a view
//! is read or written. A view keeps its memory allocated. Memory on a device is never seen by Rust at all.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ffi::{CStr, CString, c_char},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

use half::f16;
use ort::{
    AsPointer,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    ortsys,
    session::{RunOptions, Session},
    sys,
    value::TensorElementType,
};

/// Element types for which all zero bits are a value, so that untouched memory is a valid slice.
pub(super) trait Element: std::fmt::Debug + Copy + Send + 'static {
    const TYPE: TensorElementType;
}
impl Element for f16 {
    const TYPE: TensorElementType = TensorElementType::Float16;
}
impl Element for f32 {
    const TYPE: TensorElementType = TensorElementType::Float32;
}
impl Element for i32 {
    const TYPE: TensorElementType = TensorElementType::Int32;
}
impl Element for i64 {
    const TYPE: TensorElementType = TensorElementType::Int64;
}

/// Owns the right to touch the memory of its regions.
#[derive(Debug, Default)]
pub(super) struct Arena {
    /// Tells this arena's regions from another's, whose right this one does not own.
    identity: Arc<()>,
}

/// `len` elements that an arena may touch.
#[derive(Debug)]
pub(super) struct Region {
    memory: Arc<Memory>,
    kind: TensorElementType,
    len: usize,
    owner: Arc<()>,
}

impl Arena {
    /// Zeroed memory for `len` elements. Large regions are committed page by page when first written.
    pub(super) fn region<T: Element>(&self, len: usize) -> ort::Result<Region> {
        self.host(T::TYPE, len)
    }

    /// As [`Arena::region`], of a type that the graph says.
    pub(super) fn host(&self, kind: TensorElementType, len: usize) -> ort::Result<Region> {
        let memory = size_of_kind(kind).checked_mul(len).and_then(Memory::zeroed).ok_or_else(no_memory)?;
        Ok(self.own(memory, kind, len))
    }

    /// Memory on the session's CUDA device, uninitialised.
    #[cfg(feature = "cuda")]
    pub(super) fn device(
        &self,
        session: &Session,
        kind: TensorElementType,
        len: usize,
    ) -> ort::Result<Region> {
        let bytes = size_of_kind(kind).checked_mul(len).ok_or_else(no_memory)?;
        Ok(self.own(Memory::on_device(session, bytes)?, kind, len))
    }

    fn own(&self, memory: Memory, kind: TensorElementType, len: usize) -> Region {
        Region { memory: Arc::new(memory), kind, len, owner: Arc::clone(&self.identity) }
    }

    /// The contents of a region of host memory.
    pub(super) fn get_mut<'a, T: Element>(&'a mut self, region: &'a Region) -> &'a mut [T] {
        assert!(Arc::ptr_eq(&self.identity, &region.owner), "a region of this arena");
        assert!(region.kind == T::TYPE && !region.memory.is_on_device(), "a host region of this type");
        // SAFETY: the memory holds `len` initialised elements, aligned to more than any element needs. The arena is
        // borrowed exclusively, so this is the only reference into any of its regions, and `run` cannot run meanwhile.
        unsafe { slice::from_raw_parts_mut(region.memory.start().cast().as_ptr(), region.len) }
    }

    /// Copies `len` elements inside a region of host memory; false on a device, which is not ours to write.
    pub(super) fn copy_within(&mut self, region: &Region, from: usize, to: usize, len: usize) -> bool {
        assert!(Arc::ptr_eq(&self.identity, &region.owner), "a region of this arena");
        assert!(from.max(to) + len <= region.len, "elements of this region");
        if region.memory.is_on_device() {
            return false;
        }
        let size = size_of_kind(region.kind);
        // SAFETY: both ends lie inside the allocation (asserted); the arena is borrowed exclusively.
        unsafe {
            let start = region.memory.start().as_ptr();
            ptr::copy(start.add(from * size), start.add(to * size), len * size);
        }
        true
    }

    /// A tensor of `shape` over the region's elements from `offset` on.
    pub(super) fn view(&self, region: &Region, offset: usize, shape: &[usize]) -> ort::Result<View> {
        assert!(Arc::ptr_eq(&self.identity, &region.owner), "a region of this arena");
        let len: usize = shape.iter().product();
        assert!(offset + len <= region.len, "a view inside its region");
        let size = size_of_kind(region.kind);
        let info = region.memory.info()?;
        let shape: Vec<i64> = shape.iter().map(|dim| *dim as i64).collect();
        let mut value: *mut sys::OrtValue = ptr::null_mut();
        // SAFETY: `offset` lies inside the allocation (asserted), which lives as long as the view (`_memory`); ONNX
        // Runtime copies the shape.
        let start = unsafe { region.memory.start().add(offset * size) };
        ortsys![unsafe CreateTensorWithDataAsOrtValue(
            info.ptr(),
            start.as_ptr().cast(),
            len * size,
            shape.as_ptr(),
            shape.len(),
            region.kind.into(),
            &raw mut value,
        )?; nonNull(value)];
        Ok(View { value, owner: Arc::clone(&self.identity), _memory: Arc::clone(&region.memory) })
    }

    /// Runs the session over the binding's views.
    pub(super) fn run(
        &mut self,
        session: &mut Session,
        binding: &mut Binding,
        options: Option<&RunOptions>,
    ) -> ort::Result<()> {
        assert!(Arc::ptr_eq(&self.identity, &binding.owner), "a binding of this arena");
        let Binding { input_names, inputs, output_names, outputs, .. } = binding;
        // SAFETY: names and values are alive (the binding owns them) and as many as is said. The arena is borrowed
        // exclusively, so no Rust reference aliases what the run reads and writes. A past and a present view may be
        // over the same memory: the operator is made for that. All outputs are given, so none is allocated.
        ortsys![unsafe Run(
            session.ptr_mut(),
            options.map_or(ptr::null(), AsPointer::ptr),
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
    pub(super) fn bind(&self, inputs: Vec<Named>, outputs: Vec<Named>) -> Binding {
        let ours = |(_, view): &Named| Arc::ptr_eq(&self.identity, &view.owner);
        assert!(inputs.iter().chain(&outputs).all(ours), "views of this arena");
        let names = |bound: &[Named]| bound.iter().map(|(name, _)| name.as_ptr()).collect();
        Binding {
            input_names: names(&inputs),
            inputs: inputs.iter().map(|(_, view)| view.value.as_ptr().cast_const()).collect(),
            output_names: names(&outputs),
            outputs: outputs.iter().map(|(_, view)| view.value.as_ptr()).collect(),
            owner: Arc::clone(&self.identity),
            _kept: inputs.into_iter().chain(outputs).collect(),
        }
    }
}

/// A view, and the input or output that it is for.
pub(super) type Named = (Arc<CString>, Arc<View>);

/// ONNX Runtime's value over a part of a region.
pub(super) struct View {
    value: NonNull<sys::OrtValue>,
    owner: Arc<()>,
    _memory: Arc<Memory>,
}

// SAFETY: a value over memory of ours is plain data, and may move; it is only used by `Arena::run`, exclusively.
unsafe impl Send for View {}
// SAFETY: a shared view offers nothing to do.
unsafe impl Sync for View {}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: created in `view`, released once. The memory stays: ONNX Runtime does not own it.
        ortsys![unsafe ReleaseValue(self.value.as_ptr())];
    }
}

/// The arguments of a run, ready for the C call: made once, used for every step of one shape.
pub(super) struct Binding {
    input_names: Vec<*const c_char>,
    inputs: Vec<*const sys::OrtValue>,
    output_names: Vec<*const c_char>,
    outputs: Vec<*mut sys::OrtValue>,
    owner: Arc<()>,
    _kept: Vec<Named>,
}

// SAFETY: the pointers are to what `_kept` owns, which is `Send`; they are only used by `Arena::run`, exclusively.
unsafe impl Send for Binding {}

/// One allocation. Its contents are touched only as the arena allows.
#[derive(Debug)]
enum Memory {
    Host {
        block: NonNull<u8>,
        layout: Layout,
    },
    #[cfg(feature = "cuda")]
    Device {
        block: NonNull<u8>,
        allocator: ort::memory::Allocator,
        // Last, so that the device's allocator goes first.
        _session: Arc<ort::session::SharedSessionInner>,
    },
}

// SAFETY: plain memory, owned; access is the arena's to order. ONNX Runtime's allocators may be used on any thread.
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
        Some(Self::Host { block, layout })
    }

    #[cfg(feature = "cuda")]
    fn on_device(session: &Session, bytes: usize) -> ort::Result<Self> {
        let allocator = ort::memory::Allocator::new(session, cuda_memory()?)?;
        let block = NonNull::new(allocator.alloc::<u8>(bytes)?.into_raw().cast()).ok_or_else(no_memory)?;
        Ok(Self::Device { block, allocator, _session: session.inner() })
    }

    fn is_on_device(&self) -> bool {
        !matches!(self, Self::Host { .. })
    }

    fn info(&self) -> ort::Result<MemoryInfo<'static>> {
        match self {
            Self::Host { .. } => {
                MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)
            }
            #[cfg(feature = "cuda")]
            Self::Device { .. } => cuda_memory(),
        }
    }

    fn start(&self) -> NonNull<u8> {
        match self {
            Self::Host { block, .. } => {
                let skip = block.as_ptr().align_offset(Self::ALIGN);
                // SAFETY: `skip` is less than `ALIGN`, by which the block is larger than what was asked for.
                unsafe { block.add(skip) }
            }
            #[cfg(feature = "cuda")]
            Self::Device { block, .. } => *block,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self {
            // SAFETY: allocated in `zeroed` with this layout, once.
            Self::Host { block, layout } => unsafe { dealloc(block.as_ptr(), *layout) },
            // SAFETY: allocated in `on_device` by this allocator, once.
            #[cfg(feature = "cuda")]
            Self::Device { block, allocator, .. } => unsafe { allocator.free(block.as_ptr()) },
        }
    }
}

#[cfg(feature = "cuda")]
fn cuda_memory() -> ort::Result<MemoryInfo<'static>> {
    MemoryInfo::new(AllocationDevice::CUDA, 0, AllocatorType::Device, MemoryType::Default)
}

/// A node of the graph, as ONNX Runtime optimised it, and who computes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlacedNode {
    pub(super) provider: String,
    pub(super) operator: String,
    pub(super) name: String,
}

/// Every node of a session that was built with `session.record_ep_graph_assignment_info`.
pub(super) fn placed_nodes(session: &Session) -> ort::Result<Vec<PlacedNode>> {
    /// SAFETY: `text` is null or a C string that lives as long as the session, as all that this API hands out.
    unsafe fn owned(text: *const c_char) -> String {
        if text.is_null() {
            return String::new();
        }
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
    let mut placed = Vec::new();
    let (mut groups, mut count) = (ptr::null(), 0);
    ortsys![unsafe Session_GetEpGraphAssignmentInfo(session.ptr(), &raw mut groups, &raw mut count)?];
    for index in 0..count {
        // SAFETY: the array has `count` entries.
        let group = unsafe { *groups.add(index) };
        let mut provider = ptr::null();
        ortsys![unsafe EpAssignedSubgraph_GetEpName(group, &raw mut provider)?];
        let (mut nodes, mut count) = (ptr::null(), 0);
        ortsys![unsafe EpAssignedSubgraph_GetNodes(group, &raw mut nodes, &raw mut count)?];
        for index in 0..count {
            // SAFETY: the array has `count` entries.
            let node = unsafe { *nodes.add(index) };
            let (mut name, mut operator) = (ptr::null(), ptr::null());
            ortsys![unsafe EpAssignedNode_GetName(node, &raw mut name)?];
            ortsys![unsafe EpAssignedNode_GetOperatorType(node, &raw mut operator)?];
            // SAFETY: ONNX Runtime's own strings.
            let (provider, operator, name) = unsafe { (owned(provider), owned(operator), owned(name)) };
            placed.push(PlacedNode { provider, operator, name });
        }
    }
    Ok(placed)
}

/// Bytes of one element. Only types that [`Element`] has are ever asked for.
pub(super) const fn size_of_kind(kind: TensorElementType) -> usize {
    match kind {
        TensorElementType::Float16 => 2,
        TensorElementType::Int64 => 8,
        _ => 4,
    }
}

fn no_memory() -> ort::Error {
    ort::Error::new("out of memory for tensors")
}
