//! The one unsafe module: tensors over memory that we own, and ONNX Runtime's C API on them.
//!
//! Why not the safe API: a step must read and write slices of the KV cache in place. Safe inputs are borrowed or owned
//! tensors and outputs are fresh ones, an `IoBinding` copies borrowed views (and deadlocks on CPU in ort 2.0.0-rc.15)
//! and ignores adapters. The C `Run` takes preallocated outputs, slot views and run options alike.
//!
//! Why it is sound: all memory belongs to an [`Arena`]. Rust sees it through [`Arena::write`] and [`Arena::fetch`], ONNX Runtime through
//! [`View`]s while [`Arena::run`] runs, and both need the arena exclusively. So no Rust reference is alive while a view
//! is read or written. A view keeps its memory allocated. Memory on a device is never seen by Rust at all.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ffi::{CStr, CString, c_char},
    ops::Range,
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

#[cfg(feature = "cuda")]
use super::cuda::{Pinned, Stream};

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
    #[cfg(feature = "cuda")]
    device: Option<Device>,
}

/// What an arena needs whose sessions compute on a device.
#[cfg(feature = "cuda")]
#[derive(Debug)]
struct Device {
    allocator: Arc<DeviceAllocator>,
    /// Bytes of mirrored regions that the host has written and the device has not yet.
    written: Vec<(Arc<Memory>, Range<usize>)>,
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
    /// For a session that computes on the device, on this stream.
    #[cfg(feature = "cuda")]
    pub(super) fn on_device(session: &Session, stream: Stream) -> ort::Result<Self> {
        let allocator = Arc::new(DeviceAllocator::new(session, stream)?);
        Ok(Self { identity: Arc::default(), device: Some(Device { allocator, written: Vec::new() }) })
    }

    /// Zeroed memory for `len` elements that the host writes or reads and a step reads or writes: one block where both are
    /// the processor, else two of which [`Arena::run`] and [`Arena::fetch`] keep the device's like the host's.
    pub(super) fn region<T: Element>(&self, len: usize) -> ort::Result<Region> {
        self.shared(T::TYPE, len)
    }

    /// As [`Arena::region`], of a type that the graph says.
    pub(super) fn shared(&self, kind: TensorElementType, len: usize) -> ort::Result<Region> {
        #[cfg(feature = "cuda")]
        if let Some(Device { allocator, .. }) = &self.device {
            let bytes = size_of_kind(kind).checked_mul(len).ok_or_else(no_memory)?;
            return Ok(self.own(Memory::mirrored(allocator, bytes)?, kind, len));
        }
        self.host(kind, len)
    }

    /// Zeroed memory of the host, also where a device computes. Large regions are committed page by page when first written.
    pub(super) fn host(&self, kind: TensorElementType, len: usize) -> ort::Result<Region> {
        let memory = size_of_kind(kind).checked_mul(len).and_then(Memory::zeroed).ok_or_else(no_memory)?;
        Ok(self.own(memory, kind, len))
    }

    /// Zeroed memory where steps compute, which the host never looks into: the KV cache.
    pub(super) fn private(&self, kind: TensorElementType, len: usize) -> ort::Result<Region> {
        #[cfg(feature = "cuda")]
        if let Some(Device { allocator, .. }) = &self.device {
            let bytes = size_of_kind(kind).checked_mul(len).ok_or_else(no_memory)?;
            return Ok(self.own(Memory::on_device(allocator, bytes)?, kind, len));
        }
        self.host(kind, len)
    }

    fn own(&self, memory: Memory, kind: TensorElementType, len: usize) -> Region {
        Region { memory: Arc::new(memory), kind, len, owner: Arc::clone(&self.identity) }
    }

    /// Elements to be written by the host before the next run.
    pub(super) fn write<'a, T: Element>(
        &'a mut self,
        region: &'a Region,
        range: Range<usize>,
    ) -> &'a mut [T] {
        #[cfg(feature = "cuda")]
        if let Some(device) = &mut self.device
            && matches!(*region.memory, Memory::Mirrored { .. })
        {
            let size = size_of_kind(region.kind);
            device.note(&region.memory, range.start * size..range.end * size);
        }
        self.elements(region, range)
    }

    /// Elements that the last run wrote; waits for the device where it did.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(clippy::unnecessary_wraps, reason = "a device may fail to copy")
    )]
    pub(super) fn fetch<'a, T: Element>(
        &'a mut self,
        region: &'a Region,
        range: Range<usize>,
    ) -> ort::Result<&'a mut [T]> {
        assert!(range.start <= range.end && range.end <= region.len, "elements of this region");
        #[cfg(feature = "cuda")]
        if let (Some(device), Memory::Mirrored { host, block }) = (&self.device, &*region.memory) {
            let size = size_of_kind(region.kind);
            let (offset, bytes) = (range.start * size, (range.end - range.start) * size);
            // SAFETY: both blocks hold the range (asserted), and nothing else touches them until the stream was waited for.
            unsafe {
                let to = slice::from_raw_parts_mut(host.start().add(offset).as_ptr(), bytes);
                device.allocator.stream.download(block.start.add(offset), to)?;
            }
            device.allocator.stream.wait()?;
        }
        Ok(self.elements(region, range))
    }

    fn elements<'a, T: Element>(&'a mut self, region: &'a Region, range: Range<usize>) -> &'a mut [T] {
        assert!(Arc::ptr_eq(&self.identity, &region.owner), "a region of this arena");
        assert!(region.kind == T::TYPE, "a region of this type");
        let start = region.memory.seen_by_host().expect("a region that the host may look into");
        // SAFETY: the memory holds `len` initialised elements, aligned to more than any element needs. The arena is
        // borrowed exclusively, so this is the only reference into any of its regions, and `run` cannot run meanwhile.
        // Copies from and to a device are waited for before `run` and `fetch` return.
        let all = unsafe { slice::from_raw_parts_mut(start.cast().as_ptr(), region.len) };
        &mut all[range]
    }

    /// Copies `rows` runs of `len` elements, one every `pitch` elements from `from` and from `to` on, inside a region. The
    /// two sides must not overlap.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(clippy::unnecessary_wraps, reason = "a device may fail to copy")
    )]
    pub(super) fn copy_within(
        &mut self,
        region: &Region,
        (from, to): (usize, usize),
        (len, rows, pitch): (usize, usize, usize),
    ) -> ort::Result<()> {
        assert!(Arc::ptr_eq(&self.identity, &region.owner), "a region of this arena");
        assert!(rows > 0 && from.max(to) + (rows - 1) * pitch + len <= region.len, "elements of this region");
        assert!(from.abs_diff(to) >= (rows - 1) * pitch + len, "two sides that do not overlap");
        let size = size_of_kind(region.kind);
        // SAFETY: both ends lie inside the allocation (asserted); the arena is borrowed exclusively.
        let (from, to) = unsafe {
            let start = region.memory.start();
            (start.add(from * size), start.add(to * size))
        };
        #[cfg(feature = "cuda")]
        if let Some(device) = &self.device {
            // SAFETY: inside the device's allocation and apart (asserted). What comes later on the stream comes after.
            return unsafe { device.allocator.stream.copy((from, to), (len * size, rows, pitch * size)) };
        }
        for row in 0..rows {
            let offset = row * pitch * size;
            // SAFETY: inside the allocation and apart (asserted).
            unsafe {
                ptr::copy_nonoverlapping(from.add(offset).as_ptr(), to.add(offset).as_ptr(), len * size);
            };
        }
        Ok(())
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
        #[cfg(feature = "cuda")]
        if let Some(device) = &mut self.device {
            device.upload()?;
        }
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

#[cfg(feature = "cuda")]
impl Device {
    /// One range for each block: what lies between two writes was the same on both sides before, and is still.
    fn note(&mut self, memory: &Arc<Memory>, range: Range<usize>) {
        match self.written.iter_mut().find(|(written, _)| Arc::ptr_eq(written, memory)) {
            Some((_, noted)) => *noted = noted.start.min(range.start)..noted.end.max(range.end),
            None => self.written.push((Arc::clone(memory), range)),
        }
    }

    /// Gives the device what the host has written. ONNX Runtime waits for the stream at the end of a run, so that the host
    /// may write again after it.
    fn upload(&mut self) -> ort::Result<()> {
        for (memory, range) in self.written.drain(..) {
            if let Memory::Mirrored { host, block } = &*memory {
                // SAFETY: the range lies in both blocks (it was a slice of the host's), and the arena is borrowed
                // exclusively until the run has ended.
                unsafe {
                    let from = slice::from_raw_parts(host.start().add(range.start).as_ptr(), range.len());
                    self.allocator.stream.upload(from, block.start.add(range.start))?;
                }
            }
        }
        Ok(())
    }
}

/// One allocation. Its contents are touched only as the arena allows.
#[derive(Debug)]
enum Memory {
    Host {
        block: NonNull<u8>,
        layout: Layout,
    },
    #[cfg(feature = "cuda")]
    Device(DeviceBlock),
    /// As large on both sides.
    #[cfg(feature = "cuda")]
    Mirrored {
        host: Pinned,
        block: DeviceBlock,
    },
}

/// Memory of ONNX Runtime's allocator for the device.
#[cfg(feature = "cuda")]
#[derive(Debug)]
struct DeviceBlock {
    start: NonNull<u8>,
    allocator: Arc<DeviceAllocator>,
}

#[cfg(feature = "cuda")]
#[derive(Debug)]
struct DeviceAllocator {
    // In the order in which they must go: the session uses the stream to its end.
    allocator: ort::memory::Allocator,
    _session: Arc<ort::session::SharedSessionInner>,
    stream: Stream,
}

// SAFETY: ONNX Runtime's allocators, sessions and CUDA's streams may be used on any thread.
#[cfg(feature = "cuda")]
unsafe impl Send for DeviceAllocator {}
// SAFETY: as above.
#[cfg(feature = "cuda")]
unsafe impl Sync for DeviceAllocator {}

#[cfg(feature = "cuda")]
impl DeviceAllocator {
    fn new(session: &Session, stream: Stream) -> ort::Result<Self> {
        let allocator = ort::memory::Allocator::new(session, cuda_memory()?)?;
        Ok(Self { allocator, _session: session.inner(), stream })
    }
}

#[cfg(feature = "cuda")]
impl DeviceBlock {
    fn new(allocator: &Arc<DeviceAllocator>, bytes: usize) -> ort::Result<Self> {
        let raw = allocator.allocator.alloc::<u8>(bytes)?.into_raw();
        let start = NonNull::new(raw.cast()).ok_or_else(no_memory)?;
        let block = Self { start, allocator: Arc::clone(allocator) };
        // A device's memory comes as it was left, and a kernel that masks by a product with zero makes NaN of a NaN that
        // lies behind the valid tokens.
        // SAFETY: just allocated, `bytes` long.
        unsafe { allocator.stream.fill_with_zeros(start, bytes)? };
        allocator.stream.wait()?;
        Ok(block)
    }
}

#[cfg(feature = "cuda")]
impl Drop for DeviceBlock {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` by this allocator, freed once.
        unsafe { self.allocator.allocator.free(self.start.as_ptr()) };
    }
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
        Some(Self::Host { block, layout })
    }

    #[cfg(feature = "cuda")]
    fn on_device(allocator: &Arc<DeviceAllocator>, bytes: usize) -> ort::Result<Self> {
        Ok(Self::Device(DeviceBlock::new(allocator, bytes)?))
    }

    #[cfg(feature = "cuda")]
    fn mirrored(allocator: &Arc<DeviceAllocator>, bytes: usize) -> ort::Result<Self> {
        let block = DeviceBlock::new(allocator, bytes)?;
        Ok(Self::Mirrored { host: Pinned::new(&allocator.stream, bytes)?, block })
    }

    fn info(&self) -> ort::Result<MemoryInfo<'static>> {
        match self {
            Self::Host { .. } => {
                MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)
            }
            #[cfg(feature = "cuda")]
            Self::Device(_) | Self::Mirrored { .. } => cuda_memory(),
        }
    }

    /// What a step reads and writes.
    fn start(&self) -> NonNull<u8> {
        match self {
            Self::Host { block, .. } => {
                let skip = block.as_ptr().align_offset(Self::ALIGN);
                // SAFETY: `skip` is less than `ALIGN`, by which the block is larger than what was asked for.
                unsafe { block.add(skip) }
            }
            #[cfg(feature = "cuda")]
            Self::Device(block) | Self::Mirrored { block, .. } => block.start,
        }
    }

    /// What the host reads and writes; none for memory that is the device's alone.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(clippy::unnecessary_wraps, reason = "a device has memory of its own")
    )]
    fn seen_by_host(&self) -> Option<NonNull<u8>> {
        match self {
            Self::Host { .. } => Some(self.start()),
            #[cfg(feature = "cuda")]
            Self::Device(_) => None,
            #[cfg(feature = "cuda")]
            Self::Mirrored { host, .. } => Some(host.start()),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self {
            // SAFETY: allocated in `zeroed` with this layout, once.
            Self::Host { block, layout } => unsafe { dealloc(block.as_ptr(), *layout) },
            #[cfg(feature = "cuda")]
            Self::Device(_) | Self::Mirrored { .. } => {}
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
