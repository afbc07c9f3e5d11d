//! Upgrades whose decision waits for something: the futures, and what they have said until the shard
//! takes it. No connection is touched here, and a future whose connection has gone is dropped.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::admission::Admission;
use super::local::{LocalShard, spawn};
use super::upgrade::{Upgrade, UpgradeFuture};
use super::{Command, Token};

/// A decision that has been made.
#[derive(Debug)]
pub(crate) struct Decided<S> {
    pub(crate) token: Token,
    /// `None` when the future panicked.
    pub(crate) upgrade: Option<Upgrade<S>>,
    /// What the policies had settled before.
    pub(crate) admission: Admission,
}

/// What a future and its connection share.
#[derive(Debug, Default)]
struct Wait {
    /// Nobody waits for the decision any more.
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The decisions of a shard.
pub(crate) struct Deciding<S> {
    decided: RefCell<Vec<Decided<S>>>,
    waits: RefCell<HashMap<Token, Rc<Wait>>>,
    /// Where no runtime is there to run them, futures are kept here and polled when told to.
    kept: Option<RefCell<Vec<Task>>>,
}

impl<S: 'static> Deciding<S> {
    /// Futures run as tasks of this thread's shard.
    pub(crate) fn spawning() -> Rc<Self> {
        Rc::new(Self { decided: RefCell::default(), waits: RefCell::default(), kept: None })
    }

    /// Futures run in [`poll_kept`](Self::poll_kept).
    pub(crate) fn keeping() -> Rc<Self> {
        let kept = Some(RefCell::default());
        Rc::new(Self { decided: RefCell::default(), waits: RefCell::default(), kept })
    }

    /// Lets a future decide on a connection.
    pub(crate) fn start(
        self: &Rc<Self>,
        token: Token,
        future: UpgradeFuture<S>,
        admission: Admission,
    ) {
        let wait = Rc::new(Wait::default());
        self.waits.borrow_mut().insert(token, Rc::clone(&wait));
        let task = decide(Rc::clone(self), token, future, admission, wait);
        match &self.kept {
            Some(kept) => kept.borrow_mut().push(Box::pin(task)),
            None => spawn(task),
        }
    }

    /// The connection has gone: its future, if it has one, ends.
    pub(crate) fn abandon(&self, token: Token) {
        if self.waits.borrow().is_empty() {
            return;
        }
        let Some(wait) = self.waits.borrow_mut().remove(&token) else { return };
        wait.over.set(true);
        let waker = wait.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the decisions that have been made.
    pub(crate) fn take(&self) -> Vec<Decided<S>> {
        std::mem::take(&mut self.decided.borrow_mut())
    }

    /// Gives each future that is kept a chance to go on.
    pub(crate) fn poll_kept(&self) {
        let Some(kept) = &self.kept else { return };
        let mut context = Context::from_waker(Waker::noop());
        let mut tasks = std::mem::take(&mut *kept.borrow_mut());
        tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
        kept.borrow_mut().extend(tasks);
    }

    fn finish(&self, decided: Decided<S>) {
        if self.waits.borrow_mut().remove(&decided.token).is_none() {
            return;
        }
        self.decided.borrow_mut().push(decided);
        if let Some(local) = LocalShard::current() {
            // It is never refused.
            let _ = local.push(Command::Decided);
        }
    }
}

/// Runs a future, and those it answers with in its turn, until one has decided or nobody waits.
async fn decide<S: 'static>(
    deciding: Rc<Deciding<S>>,
    token: Token,
    mut future: UpgradeFuture<S>,
    admission: Admission,
    wait: Rc<Wait>,
) {
    let upgrade = poll_fn(|context| {
        loop {
            if wait.over.get() {
                return Poll::Ready(None);
            }
            *wait.waker.borrow_mut() = Some(context.waker().clone());
            // A panic ends this connection's handshake, not the shard.
            match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(upgrade)) => match upgrade.into_future() {
                    Ok(next) => future = next,
                    Err(upgrade) => return Poll::Ready(Some(upgrade)),
                },
                Err(_) => return Poll::Ready(None),
            }
        }
    })
    .await;
    deciding.finish(Decided { token, upgrade, admission });
}
