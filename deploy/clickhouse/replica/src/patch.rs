//! What a ClickHouse server's `main` does and the library has nobody for: it says under which address this
//! replica's parts can be fetched. Without one, Replicated tables stay read-only.
//!
//! The library exports no function that sets it. So three functions of the loaded library, those that tell address,
//! scheme and credentials, are overwritten in memory by ones that tell this process's. Their places are those of the
//! pinned build for x86-64; their first bytes are looked at first, and another build is refused.

use std::ffi::c_void;
use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// Why the library is left as it is.
#[derive(Debug)]
pub enum PatchError {
    /// It can't be loaded.
    Load(libloading::Error),
    /// The library is not the pinned build, or not for this processor.
    OtherBuild,
    /// The system does not let its code be written.
    Protected(std::io::Error),
}

impl std::fmt::Display for PatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Load(error) => write!(f, "cannot load the engine: {error}"),
            Self::OtherBuild => write!(
                f,
                "replicas need the pinned engine {} for x86-64",
                whence_clickhouse_embedded::library::ENGINE_VERSION
            ),
            Self::Protected(error) => write!(f, "cannot write the engine's code: {error}"),
        }
    }
}

impl std::error::Error for PatchError {}

/// A function: its distance from the library's beginning, and how it begins.
struct FunctionEntry {
    offset: usize,
    begins: &'static [u8],
}

/// `Context::getInterserverCredentials`.
const CREDENTIALS: FunctionEntry =
    FunctionEntry { offset: 0x1417_c940, begins: &[0x41, 0x57, 0x41, 0x56, 0x53] };
/// `Context::getInterserverIOAddress`.
const ADDRESS: FunctionEntry =
    FunctionEntry { offset: 0x1417_c9c0, begins: &[0x41, 0x56, 0x53, 0x48, 0x83, 0xec, 0x48] };
/// `Context::getInterserverScheme`.
const SCHEME: FunctionEntry =
    FunctionEntry { offset: 0x1417_cac0, begins: &[0x48, 0x8b, 0x06, 0x80, 0xb8, 0x87] };
/// All three lie in these pages.
const PAGES: (usize, usize) = (0x1417_c000, 0x2000);

/// Empty credentials: two strings, and then some.
static NOBODY: [u8; 256] = [0; 256];

/// Loads the library at `path`, for good, and has it tell `127.0.0.1:port`. To be called before the engine is
/// opened.
///
/// # Errors
/// See [`PatchError`].
pub fn patch(path: &Path, port: u16) -> Result<(), PatchError> {
    // SAFETY: the engine is loaded the same way afterwards; its initialisers run once.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(PatchError::Load)?;
    // SAFETY: only the symbol's address is looked at.
    let symbol = unsafe { library.get::<*const c_void>(b"chdb_connect\0") }.map_err(PatchError::Load)?;
    let base = base_of(symbol.into_raw().cast_const()).ok_or(PatchError::OtherBuild)?;
    std::mem::forget(library);
    if !cfg!(target_arch = "x86_64") || !size_is_enough(path) {
        return Err(PatchError::OtherBuild);
    }
    let at = |place: &FunctionEntry| base.wrapping_add(place.offset);
    for place in [&CREDENTIALS, &ADDRESS, &SCHEME] {
        // SAFETY: the place lies within the library, whose size was looked at; its code can be read.
        let begins = unsafe { std::slice::from_raw_parts(at(place), place.begins.len()) };
        if begins != place.begins {
            return Err(PatchError::OtherBuild);
        }
    }
    let pages = base.wrapping_add(PAGES.0).cast::<c_void>();
    protect(pages, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)?;
    let credentials = [&load_rax(NOBODY.as_ptr() as u64)[..], &[0x31, 0xd2, 0xc3]].concat();
    let address = [&string("127.0.0.1")[..], &port_at_24(port), &return_rdi()].concat();
    let scheme = [&string("http")[..], &return_rdi()].concat();
    for (place, code) in [(&CREDENTIALS, credentials), (&ADDRESS, address), (&SCHEME, scheme)] {
        // SAFETY: the pages can be written, the code is shorter than the function that it takes the place of (128
        // bytes and more), and nobody runs it yet.
        unsafe { at(place).copy_from_nonoverlapping(code.as_ptr(), code.len()) };
    }
    protect(pages, libc::PROT_READ | libc::PROT_EXEC)
}

fn size_is_enough(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > (PAGES.0 + PAGES.1) as u64)
}

/// Where the library that holds this address begins.
fn base_of(symbol: *const c_void) -> Option<*mut u8> {
    // SAFETY: an all-zero `Dl_info` is valid, and the call only writes to it.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        (libc::dladdr(symbol, &raw mut info) != 0).then(|| info.dli_fbase.cast())
    }
}

fn protect(pages: *mut c_void, how: libc::c_int) -> Result<(), PatchError> {
    // SAFETY: changes what may be done with pages of the library that were looked at.
    match unsafe { libc::mprotect(pages, PAGES.1, how) } {
        0 => Ok(()),
        _ => Err(PatchError::Protected(std::io::Error::last_os_error())),
    }
}

/// `mov rax, value`
fn load_rax(value: u64) -> [u8; 10] {
    let mut code = [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0];
    code[2..].copy_from_slice(&value.to_le_bytes());
    code
}

/// Writes a short text as libc++ keeps it (24 bytes, the last one its length) to where `rdi` points.
fn string(text: &str) -> Vec<u8> {
    let mut raw = [0; 24];
    raw[..text.len()].copy_from_slice(text.as_bytes());
    raw[23] = text.len() as u8;
    let mut code = Vec::new();
    for (number, part) in raw.as_chunks::<8>().0.iter().enumerate() {
        code.extend(load_rax(u64::from_le_bytes(*part)));
        // mov [rdi + 8 * number], rax
        code.extend([0x48, 0x89, 0x47, 8 * number as u8]);
    }
    code
}

/// `mov word [rdi + 24], port`
fn port_at_24(port: u16) -> [u8; 6] {
    let [low, high] = port.to_le_bytes();
    [0x66, 0xc7, 0x47, 0x18, low, high]
}

/// `mov rax, rdi; ret`
fn return_rdi() -> [u8; 4] {
    [0x48, 0x89, 0xf8, 0xc3]
}
