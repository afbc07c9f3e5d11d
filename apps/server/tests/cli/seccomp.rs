//! Makes the kernel refuse io_uring to one thread and the programs it starts, as containers do.
//! Nothing can take that back, so it is done on threads that end soon.
#![expect(unsafe_code, reason = "no safe function installs a system call filter")]

use std::io;
use std::thread;

/// `BPF_LD | BPF_W | BPF_ABS`: loads a word of the call's description.
const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`: compares it.
const JUMP_IF_EQUAL: u16 = 0x15;
/// `BPF_RET | BPF_K`: decides.
const RETURN: u16 = 0x06;

/// Runs `work` on a thread for which `io_uring_setup` fails with `errno`.
pub(crate) fn with_io_uring_refused<T: Send>(errno: i32, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            refuse_io_uring(errno).expect("a filter can be installed");
            work()
        });
        match thread.join() {
            Ok(value) => value,
            Err(cause) => std::panic::resume_unwind(cause),
        }
    })
}

fn refuse_io_uring(errno: i32) -> io::Result<()> {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the first call takes numbers only. The second reads `filter` and the four steps it
    // points to, which live until it returns; it writes nothing.
    let outcome = unsafe {
        match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) {
            0 => libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter),
            refused => refused,
        }
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
