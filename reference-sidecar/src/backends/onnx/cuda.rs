//! CUDA beside ONNX Runtime: the stream that every step runs on, page-locked memory, and copies between it and the device.
//!
//! A captured CUDA graph reads and writes fixed addresses on the device, so a step's small inputs are copied there before
//! it and its logits back after it, in the order of one stream. Talks to the driver, which `ort`'s provider has loaded by
//! then. Only `raw` may use it.

use std::{ffi::c_void, ptr::NonNull, sync::Arc};

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

/// A stream of device 0. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Stream(Arc<CudaStream>);

impl Stream {
    pub(super) fn new() -> ort::Result<Self> {
        // SAFETY: only looks for the library. `cudarc` panics at its first call where there is none.
        if !unsafe { sys::is_culib_present() } {
            return Err(ort::Error::new("CUDA's driver library (libcuda.so.1) was not found"));
        }
        let stream = CudaContext::new(DEVICE).and_then(|context| context.new_stream());
        stream.map(Self).map_err(failed)
    }

    /// For ONNX Runtime, which runs its kernels on it.
    pub(super) fn handle(&self) -> *mut () {
        self.0.cu_stream().cast()
    }

    /// Bytes of the device's memory that are free.
    pub(super) fn free_memory(&self) -> ort::Result<u64> {
        let free = self.0.context().bind_to_thread().and_then(|()| result::mem_get_info());
        free.map(|(free, _)| free as u64).map_err(failed)
    }

    /// Waits until all that was asked for is done.
    pub(super) fn wait(&self) -> ort::Result<()> {
        self.0.synchronize().map_err(failed)
    }

    /// SAFETY: `to` is `bytes` of the device's memory, not read or written by anything outside this stream.
    pub(super) unsafe fn fill_with_zeros(&self, to: NonNull<u8>, bytes: usize) -> ort::Result<()> {
        self.order(|stream| {
            // SAFETY: as the caller promises.
            unsafe { result::memset_d8_async(address(to), 0, bytes, stream) }
        })
    }

    /// SAFETY: `from` is page-locked and is not written until [`Stream::wait`] returns; `to` is as many bytes on the device.
    pub(super) unsafe fn upload(&self, from: &[u8], to: NonNull<u8>) -> ort::Result<()> {
        self.order(|stream| {
            // SAFETY: as the caller promises.
            unsafe { result::memcpy_htod_async(address(to), from, stream) }
        })
    }

    /// SAFETY: `to` is page-locked and is not touched until [`Stream::wait`] returns; `from` is as many bytes on the device.
    pub(super) unsafe fn download(&self, from: NonNull<u8>, to: &mut [u8]) -> ort::Result<()> {
        self.order(|stream| {
            // SAFETY: as the caller promises.
            unsafe { result::memcpy_dtoh_async(to, address(from), stream) }
        })
    }

    /// Copies `rows` pieces of `width` bytes, one every `pitch` bytes on both sides, inside the device's memory.
    ///
    /// SAFETY: all pieces lie in allocations of the device, and those of `from` and `to` do not overlap.
    pub(super) unsafe fn copy(
        &self,
        (from, to): (NonNull<u8>, NonNull<u8>),
        (width, rows, pitch): (usize, usize, usize),
    ) -> ort::Result<()> {
        let on_device = sys::CUmemorytype::CU_MEMORYTYPE_DEVICE;
        let what = sys::CUDA_MEMCPY2D_st {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: on_device,
            srcHost: std::ptr::null(),
            srcDevice: address(from),
            srcArray: std::ptr::null_mut(),
            srcPitch: pitch,
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: on_device,
            dstHost: std::ptr::null_mut(),
            dstDevice: address(to),
            dstArray: std::ptr::null_mut(),
            dstPitch: pitch,
            WidthInBytes: width,
            Height: rows,
        };
        self.order(|stream| {
            // SAFETY: as the caller promises; the driver reads `what` before it returns.
            unsafe { sys::cuMemcpy2DAsync_v2(&raw const what, stream) }.result()
        })
    }

    /// Calls the driver with the device's context bound to this thread.
    fn order(&self, call: impl FnOnce(sys::CUstream) -> Result<(), DriverError>) -> ort::Result<()> {
        let bound = self.0.context().bind_to_thread();
        bound.and_then(|()| call(self.0.cu_stream())).map_err(failed)
    }
}

/// Page-locked memory of the host, zeroed: the device copies from and to it without the processor, and at full speed.
#[derive(Debug)]
pub(super) struct Pinned {
    block: NonNull<u8>,
    stream: Stream,
}

impl Pinned {
    pub(super) fn new(stream: &Stream, bytes: usize) -> ort::Result<Self> {
        let mut block = None;
        stream.order(|_| {
            // SAFETY: returns memory of `bytes` or an error.
            block = NonNull::new(unsafe { result::malloc_host(bytes, 0) }?.cast::<u8>());
            Ok(())
        })?;
        let block = block.ok_or_else(|| ort::Error::new("CUDA gave no page-locked memory"))?;
        // SAFETY: just allocated, `bytes` long.
        unsafe { block.write_bytes(0, bytes) };
        Ok(Self { block, stream: stream.clone() })
    }

    pub(super) const fn start(&self) -> NonNull<u8> {
        self.block
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let freed = self.stream.order(|_| {
            // SAFETY: allocated in `new`, freed once.
            unsafe { result::free_host(self.block.as_ptr().cast::<c_void>()) }
        });
        if let Err(error) = freed {
            tracing::warn!(error = error.message(), "page-locked memory could not be given back");
        }
    }
}

fn address(pointer: NonNull<u8>) -> sys::CUdeviceptr {
    pointer.as_ptr() as sys::CUdeviceptr
}

fn failed(error: DriverError) -> ort::Error {
    ort::Error::new(format!("CUDA's driver: {error}"))
}

/// Of several, the one that ONNX Runtime takes too; CUDA_VISIBLE_DEVICES chooses another.
const DEVICE: usize = 0;
