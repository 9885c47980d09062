//! Runs a server as a child process and starts it again when it ends by itself.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the child of `command` end when this process does, however it ends, so that no engine is
/// left behind with the data folder open.
///
/// The kernel ties this to the *thread* that spawns: spawn from one that lives as long as the process,
/// such as the main thread or a runtime's worker.
pub fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let tie = move || {
        // SAFETY: two plain system calls, allowed between fork and exec.
        let orphaned = unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            u32::try_from(libc::getppid()) != Ok(parent)
        };
        // The parent may have ended before the tie was made.
        if orphaned { Err(io::Error::other("the parent has ended")) } else { Ok(()) }
    };
    // SAFETY: the closure allocates nothing on its way to success.
    unsafe { command.pre_exec(tie) };
}
