//! A process that ends when the one that started it does, however that ended: a test that is killed leaves nothing
//! behind.

use std::time::Duration;

/// Ends this process as soon as its parent is another one.
///
/// # Errors
/// No thread could be had.
pub fn end_with_parent(and: impl Fn() + Send + 'static) -> std::io::Result<()> {
    // SAFETY: a plain system call.
    let parent = || unsafe { libc::getppid() };
    let first = parent();
    let watch = move || {
        while parent() == first {
            std::thread::sleep(Duration::from_millis(200));
        }
        and();
        // SAFETY: ends the process; destructors must not run beside the engine's threads.
        unsafe { libc::_exit(1) }
    };
    std::thread::Builder::new().name("parent".into()).spawn(watch).map(drop)
}
