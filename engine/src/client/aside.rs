//! Work that blocks, on threads beside the runtime: the system's resolver, its store of certificates.
//! The threads are few and end when nothing is left to do; what nobody waits for any more is not
//! begun. Nothing is done here for a message.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

/// Threads at once. A name server that does not answer holds one up for some seconds.
const THREADS_MAX: usize = 8;
/// Pieces of work that may wait for a thread.
const WAITING_MAX: usize = 1_024;

type Work = Box<dyn FnOnce() + Send>;

/// The threads of the process and what waits for them.
struct Crew {
    waiting: VecDeque<Work>,
    threads: usize,
}

static CREW: Mutex<Crew> = Mutex::new(Crew { waiting: VecDeque::new(), threads: 0 });

fn crew() -> MutexGuard<'static, Crew> {
    CREW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the one who asked and the one who answers share.
struct Answer<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// Does `work` on another thread and waits for what it returns.
///
/// # Errors
/// When too much waits already, or no thread can be started.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let answer = Arc::new(Mutex::new(Answer { value: None, waker: None }));
    let asked = Arc::downgrade(&answer);
    begin(Box::new(move || {
        let Some(answer) = asked.upgrade() else { return };
        let value = work();
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        answer.value = Some(value);
        if let Some(waker) = answer.waker.take() {
            waker.wake();
        }
    }))?;
    let value = poll_fn(|context| {
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        match answer.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                answer.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    });
    Ok(value.await)
}

fn begin(work: Work) -> io::Result<()> {
    let mut crew = crew();
    if crew.waiting.len() >= WAITING_MAX {
        return Err(io::Error::other("too many names are being looked up already"));
    }
    crew.waiting.push_back(work);
    if crew.threads == THREADS_MAX {
        return Ok(());
    }
    match thread::Builder::new().name("aside".to_owned()).spawn(attend) {
        Ok(_) => crew.threads += 1,
        // Those there are will come to it.
        Err(_) if crew.threads > 0 => {}
        Err(error) => {
            crew.waiting.pop_back();
            return Err(error);
        }
    }
    Ok(())
}

/// Does what waits until nothing does.
fn attend() {
    loop {
        let work = {
            let mut crew = crew();
            match crew.waiting.pop_front() {
                Some(work) => work,
                None => {
                    // Under the same lock: whoever comes next starts another thread.
                    crew.threads -= 1;
                    return;
                }
            }
        };
        // A panic was printed, and whoever waits has a deadline.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::Context;
    use std::time::Duration;

    use super::*;
    use crate::client::block_on;

    /// Polls a future once.
    fn begin_to_wait<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// All in one, because what is tested is one of a kind in the process.
    #[test]
    fn threads_are_few_what_is_given_up_is_not_begun_and_what_is_too_much_is_refused() {
        assert_eq!(block_on(aside(|| 6 * 7)).unwrap(), 42);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let work = || {
            let (running, most, held) = (running.clone(), most.clone(), held.clone());
            move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _ = held.lock().unwrap().recv();
                running.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let mut waits: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(aside(work()))).collect();
        assert!(waits.iter_mut().all(|wait| begin_to_wait(wait.as_mut())));
        let mut refused = 0;
        // The threads have taken some, so there is room for as many more.
        for _ in 0..=THREADS_MAX {
            let mut wait = Box::pin(aside(work()));
            refused += usize::from(!begin_to_wait(wait.as_mut()));
            waits.push(wait);
        }
        assert!(refused > 0, "more than {WAITING_MAX} wait");
        let kept = waits.swap_remove(0);
        drop(waits);
        drop(release);
        block_on(async { monoio::time::timeout(Duration::from_secs(10), kept).await })
            .expect("it is done")
            .unwrap();
        assert!((1..=THREADS_MAX).contains(&most.load(Ordering::SeqCst)));
    }
}
