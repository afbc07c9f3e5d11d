//! The shard as its own thread sees it between callbacks: an outbox for commands from tasks, and
//! the number of tasks alive. It runs nothing itself.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::command_queue::CommandQueue;
use super::{Command, Mailbox, PeerError, Publisher, Token};
use crate::pubsub::{Content, Exchange, Hub, Publish, Reached};

thread_local! {
    static CURRENT: RefCell<Option<Rc<LocalShard>>> = const { RefCell::new(None) };
}

/// The tasks alive: how to wake each, by a number that is given again when it has ended.
#[derive(Debug, Default)]
struct Tasks {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// What tasks and peers of a shard's thread share with its loop.
#[derive(Debug)]
pub(crate) struct LocalShard {
    mailbox: Arc<Mailbox>,
    hub: Rc<RefCell<Hub>>,
    publisher: Publisher,
    outbox: RefCell<CommandQueue>,
    tasks: RefCell<Tasks>,
    waker: RefCell<Option<Waker>>,
    /// The shard has ended, and so must its tasks.
    ended: Cell<bool>,
    /// The generation of the connection in each slot, `u32::MAX` where there is none, so that a
    /// stale handle is told so at once.
    generations: RefCell<Vec<u32>>,
}

impl LocalShard {
    /// The local side of a shard with this mailbox and these topics.
    #[must_use]
    pub(crate) fn new(mailbox: Arc<Mailbox>, hub: Hub) -> Rc<Self> {
        Rc::new(Self {
            mailbox,
            publisher: Publisher::new(Arc::clone(hub.exchange())),
            hub: Rc::new(RefCell::new(hub)),
            outbox: RefCell::default(),
            tasks: RefCell::default(),
            waker: RefCell::default(),
            ended: Cell::new(false),
            generations: RefCell::default(),
        })
    }

    /// Makes it the shard of this thread, until [`leave`](Self::leave).
    pub(crate) fn enter(self: &Rc<Self>) {
        CURRENT.with(|current| *current.borrow_mut() = Some(Rc::clone(self)));
    }

    /// Forgets the shard of this thread.
    pub(crate) fn leave() {
        CURRENT.with(|current| *current.borrow_mut() = None);
    }

    /// The shard of this thread.
    #[must_use]
    pub(crate) fn current() -> Option<Rc<Self>> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// The mailbox other threads reach it by.
    #[must_use]
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// The shard's topics.
    #[must_use]
    pub(crate) fn hub(&self) -> &Rc<RefCell<Hub>> {
        &self.hub
    }

    /// Publishes what this very thread publishes to its own server, if it does. Through the hub and
    /// not straight to the shards, so that it stays behind what the hub was given before.
    pub(crate) fn publish(
        exchange: &Arc<Exchange>,
        name: &str,
        content: Content<'_>,
        how: Publish,
    ) -> Option<Reached> {
        let local = Self::current()?;
        let reached = {
            // It is borrowed only while a backend is called, and then by that backend.
            let mut hub = local.hub.try_borrow_mut().ok()?;
            if hub.has_ended() || !Arc::ptr_eq(hub.exchange(), exchange) {
                return None;
            }
            hub.publish(name, content, None, how)
        };
        local.wake();
        Some(reached)
    }

    /// What publishes to this server's topics.
    #[must_use]
    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Whether any task spawned through the engine is alive.
    #[must_use]
    pub(crate) fn has_tasks(&self) -> bool {
        let tasks = self.tasks.borrow();
        tasks.wakers.len() > tasks.free.len()
    }

    /// Makes every task end the next time it runs, and wakes it. The runtime would not free what a
    /// task holds that waits for a timer when the runtime is dropped.
    pub(crate) fn end_tasks(&self) {
        self.ended.set(true);
        let wakers = std::mem::take(&mut self.tasks.borrow_mut().wakers);
        let empty = wakers.iter().map(|_| None).collect();
        self.tasks.borrow_mut().wakers = empty;
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Queues a command for the next turn and wakes the loop. As much may wait as in the mailbox.
    ///
    /// # Errors
    /// [`PeerError::Full`]; the command is dropped.
    pub(crate) fn push(&self, command: Command) -> Result<(), PeerError> {
        if !self.outbox.borrow_mut().push(command, self.mailbox.bounds()) {
            return Err(PeerError::Full);
        }
        self.wake();
        Ok(())
    }

    /// Wakes the loop if it waits in the runtime.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Asks to be woken at the next command.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }

    /// Whether commands wait, or what tasks have published.
    #[must_use]
    pub(crate) fn has_commands(&self) -> bool {
        self.outbox.borrow().len() > 0 || self.hub.borrow().has_deliveries()
    }

    /// Takes the commands that wait.
    #[must_use]
    pub(crate) fn take(&self) -> VecDeque<Command> {
        self.outbox.borrow_mut().take()
    }

    /// Notes which connection has a slot, or that none has.
    pub(crate) fn set_generation(&self, slot: u32, generation: Option<u32>) {
        let mut generations = self.generations.borrow_mut();
        let index = slot as usize;
        if generations.len() <= index {
            generations.resize(index + 1, u32::MAX);
        }
        generations[index] = generation.unwrap_or(u32::MAX);
    }

    /// Whether the connection is still there.
    #[must_use]
    pub(crate) fn is_alive(&self, token: Token) -> bool {
        self.generations.borrow().get(token.slot as usize) == Some(&token.generation)
    }
}

/// A task's entry for as long as it lives: finished, cancelled or panicked.
struct TaskEntry {
    local: Rc<LocalShard>,
    number: usize,
}

impl TaskEntry {
    fn new(local: Rc<LocalShard>) -> Self {
        let mut tasks = local.tasks.borrow_mut();
        let number = tasks.free.pop().unwrap_or(tasks.wakers.len());
        if number == tasks.wakers.len() {
            tasks.wakers.push(None);
        }
        drop(tasks);
        Self { local, number }
    }

    /// Polls the task's future, unless the shard has ended.
    fn poll(
        &self,
        future: Pin<&mut impl Future<Output = ()>>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if self.local.ended.get() {
            return Poll::Ready(());
        }
        let mut tasks = self.local.tasks.borrow_mut();
        let waker = &mut tasks.wakers[self.number];
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        drop(tasks);
        future.poll(context)
    }
}

impl Drop for TaskEntry {
    fn drop(&mut self) {
        let mut tasks = self.local.tasks.borrow_mut();
        let waker = tasks.wakers[self.number].take();
        tasks.free.push(self.number);
        drop(tasks);
        // Not before: it may be the last that holds the task.
        drop(waker);
        self.local.wake();
    }
}

/// Spawns a task on this shard's runtime, for work that must wait: a database, an outbound call, a
/// timer. It runs between turns on the shard's own thread, so it needs no `Send`.
///
/// # Panics
/// Outside a shard's thread: there is no runtime to run it.
pub fn spawn<F>(future: F)
where
    F: Future<Output = ()> + 'static,
{
    let local = LocalShard::current().expect("ringsock::spawn is for the threads of a shard");
    let entry = TaskEntry::new(local);
    monoio::spawn(async move {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| entry.poll(future.as_mut(), context)).await;
    });
}
