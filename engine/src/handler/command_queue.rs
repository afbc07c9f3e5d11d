//! Commands that wait for a shard, bounded in number and in bytes. It wakes nobody and executes
//! nothing.

use std::collections::VecDeque;

use super::Command;
use crate::limits::Limits;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandBounds {
    commands_max: usize,
    bytes_max: usize,
}

impl CommandBounds {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { commands_max: limits.mailbox_commands_max, bytes_max: limits.mailbox_bytes_max }
    }
}

/// The commands in their order, and the bytes that they carry.
#[derive(Debug, Default)]
pub(super) struct CommandQueue {
    commands: VecDeque<Command>,
    bytes: usize,
}

impl CommandQueue {
    /// Takes a command in. One that somebody beside the engine asks for is taken while fewer
    /// commands and bytes than allowed wait; `false` when it is not.
    pub(super) fn push(&mut self, command: Command, bounds: CommandBounds) -> bool {
        let is_full = self.commands.len() >= bounds.commands_max || self.bytes >= bounds.bytes_max;
        if is_full && command.can_be_refused() {
            return false;
        }
        self.bytes += command.carried_bytes();
        self.commands.push_back(command);
        true
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    /// Takes all out.
    pub(super) fn take(&mut self) -> VecDeque<Command> {
        self.bytes = 0;
        std::mem::take(&mut self.commands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Compress;
    use crate::handler::Token;
    use crate::protocol::MessageKind;

    fn message(bytes: usize) -> Command {
        let (token, kind) = (Token { slot: 0, generation: 0 }, MessageKind::Text);
        Command::Send { token, kind, payload: vec![0; bytes], compress: Compress::Auto }
    }

    #[test]
    fn it_is_bounded_in_number_and_bytes_but_what_ends_a_shard_gets_in() {
        let limits =
            Limits { mailbox_commands_max: 3, mailbox_bytes_max: 100, ..Limits::default() };
        let bounds = CommandBounds::of(&limits);
        let mut queue = CommandQueue::default();
        assert!((0..3).all(|_| queue.push(message(1), bounds)));
        assert!(!queue.push(message(1), bounds), "three wait");
        assert!(queue.push(Command::Drain { refuse: true }, bounds));
        assert!(queue.push(Command::Stop, bounds));
        assert_eq!(queue.take().len(), 5);
        assert!(queue.push(message(99), bounds) && queue.push(message(1_000), bounds));
        assert!(!queue.push(message(0), bounds), "enough bytes wait");
        assert_eq!(queue.take().len(), 2);
        assert!(queue.push(message(0), bounds));
    }
}
