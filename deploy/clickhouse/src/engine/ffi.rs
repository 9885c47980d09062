//! The symbols of `libchdb` that this crate calls, loaded at run time.
//!
//! Signatures follow `programs/local/chdb.h` of chdb 26.7. Nothing here knows SQL, HTTP or who owns a
//! handle: that is `session`'s. Loading at run time keeps a 566 MB library out of the build and lets
//! an operator bring another build of it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::EngineError;

/// What `chdb_connect` returns: a box around the connection handle.
pub(super) type ConnectionBox = *mut Connection;
/// The connection handle that statements take.
pub(super) type Connection = *mut c_void;
/// A result handle; never null, freed with `destroy_result`.
pub(super) type ResultHandle = *mut c_void;
/// An insert stream handle; never null, freed with `destroy_insert`.
pub(super) type InsertHandle = *mut c_void;
/// `chdb_state`: 0 is success.
pub(super) type ChdbState = c_int;

type QueryFn = unsafe extern "C" fn(
    Connection,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> *mut c_void;

/// The loaded engine library.
pub(super) struct Api {
    pub connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> ConnectionBox,
    pub close: unsafe extern "C" fn(ConnectionBox),
    pub query: QueryFn,
    pub destroy_result: unsafe extern "C" fn(ResultHandle),
    pub result_error: unsafe extern "C" fn(ResultHandle) -> *const c_char,
    pub result_buffer: unsafe extern "C" fn(ResultHandle) -> *const u8,
    pub result_length: unsafe extern "C" fn(ResultHandle) -> usize,
    pub rows_read: unsafe extern "C" fn(ResultHandle) -> u64,
    pub bytes_read: unsafe extern "C" fn(ResultHandle) -> u64,
    pub rows_produced: unsafe extern "C" fn(ResultHandle) -> u64,
    pub rows_written: unsafe extern "C" fn(ResultHandle) -> u64,
    pub bytes_written: unsafe extern "C" fn(ResultHandle) -> u64,
    pub insert_open: QueryFn,
    pub insert_append: unsafe extern "C" fn(InsertHandle, *const u8, usize) -> ChdbState,
    pub insert_done: unsafe extern "C" fn(InsertHandle) -> ResultHandle,
    pub insert_error: unsafe extern "C" fn(InsertHandle) -> *const c_char,
    pub destroy_insert: unsafe extern "C" fn(InsertHandle),
    pub shutdown: unsafe extern "C" fn() -> ChdbState,
    set_signal_handlers_enabled: unsafe extern "C" fn(c_int),
    version: unsafe extern "C" fn() -> *const c_char,
}

impl Api {
    /// Loads the library at `path` and switches its signal handlers off, since the process has its
    /// own.
    ///
    /// The library is never unloaded: its threads outlive any owner this crate could give it.
    pub fn load(path: &Path) -> Result<&'static Self, EngineError> {
        let load = |source| EngineError::Load { path: path.to_owned(), source };
        // SAFETY: running the initialisers of the library that the operator named is the point.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(load)?;
        // SAFETY: every symbol is looked up with the signature that chdb.h declares for it.
        let api = unsafe { Self::bind(&library) }.map_err(load)?;
        std::mem::forget(library);
        // SAFETY: takes a flag, touches only the library's own state and signal dispositions.
        unsafe { (api.set_signal_handlers_enabled)(0) };
        Ok(Box::leak(Box::new(api)))
    }

    unsafe fn bind(library: &Library) -> Result<Self, libloading::Error> {
        // SAFETY: the caller vouches that the library has chdb's interface.
        unsafe {
            Ok(Self {
                connect: *library.get(b"chdb_connect\0")?,
                close: *library.get(b"chdb_close_conn\0")?,
                query: *library.get(b"chdb_query_with_params_n\0")?,
                destroy_result: *library.get(b"chdb_destroy_query_result\0")?,
                result_error: *library.get(b"chdb_result_error\0")?,
                result_buffer: *library.get(b"chdb_result_buffer\0")?,
                result_length: *library.get(b"chdb_result_length\0")?,
                rows_read: *library.get(b"chdb_result_storage_rows_read\0")?,
                bytes_read: *library.get(b"chdb_result_storage_bytes_read\0")?,
                rows_produced: *library.get(b"chdb_result_rows_read\0")?,
                rows_written: *library.get(b"chdb_result_rows_written\0")?,
                bytes_written: *library.get(b"chdb_result_bytes_written\0")?,
                insert_open: *library.get(b"chdb_stream_insert_with_params_n\0")?,
                insert_append: *library.get(b"chdb_stream_append\0")?,
                insert_done: *library.get(b"chdb_stream_done\0")?,
                insert_error: *library.get(b"chdb_stream_insert_error\0")?,
                destroy_insert: *library.get(b"chdb_destroy_insert_stream\0")?,
                shutdown: *library.get(b"chdb_shutdown\0")?,
                set_signal_handlers_enabled: *library.get(b"chdb_set_signal_handlers_enabled\0")?,
                version: *library.get(b"chdb_version\0")?,
            })
        }
    }

    /// The library's own version, such as `26.7.3`.
    pub fn version(&self) -> String {
        // SAFETY: returns a constant, null-terminated string.
        unsafe { text((self.version)()) }.unwrap_or_default()
    }
}

/// A C string that the library owns, copied; `None` for null.
///
/// # Safety
/// `pointer` is null or a null-terminated string that lives through the call.
pub(super) unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not null, and null-terminated by the caller's word.
    Some(unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}
