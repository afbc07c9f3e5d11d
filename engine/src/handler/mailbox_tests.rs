//! The mailbox by itself, and every order in which threads can come to it.

use super::*;
use crate::handler::Token;
use crate::limits::Limits;
use crate::pubsub::interleavings::interleavings;

fn mailbox(commands_max: usize) -> Mailbox {
    let limits = Limits { mailbox_commands_max: commands_max, ..Limits::default() };
    Mailbox::new(CommandBounds::of(&limits)).unwrap()
}

/// A command that can be told from others.
fn command(number: u32) -> Command {
    Command::Resume { token: Token { slot: number, generation: 0 } }
}

/// The numbers of commands; a hundred for the one that cannot be refused.
fn numbers(commands: VecDeque<Command>) -> Vec<u32> {
    let number = |command| match command {
        Command::Resume { token } => token.slot,
        _ => 100,
    };
    commands.into_iter().map(number).collect()
}

#[test]
fn a_full_one_and_a_stopped_one_say_so() {
    let mailbox = mailbox(1);
    assert_eq!(mailbox.push(command(1)), Ok(()));
    assert_eq!(mailbox.push(command(2)), Err(PeerError::Full));
    assert_eq!(mailbox.push(Command::Stop), Ok(()));
    assert_eq!(mailbox.take().len(), 2);
    mailbox.stop();
    assert_eq!(mailbox.push(Command::Drain { refuse: true }), Err(PeerError::Gone));
}

/// What one thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Puts a command in.
    Insert(u32),
    /// Puts one in that cannot be refused.
    InsertSurely,
    /// Writes to the eventfd, if what was put in before said so.
    Ring,
    /// The shard reads its eventfd.
    Silence,
    /// It takes what there is.
    Take,
    /// It ends.
    Stop,
}

/// Whether the eventfd has been written to since it was read.
fn rings(mailbox: &Mailbox) -> bool {
    rustix::io::read(&mailbox.wake, &mut [0; 8]).is_ok()
}

/// Runs the threads in every order beside a plain queue; how many there are, and how often the
/// mailbox was full.
fn run_all(commands_max: usize, threads: &[&[Step]]) -> (usize, usize) {
    let lengths: Vec<usize> = threads.iter().map(|steps| steps.len()).collect();
    let mut refused = 0;
    let runs = interleavings(&lengths, &mut |order| {
        let mailbox = mailbox(commands_max);
        let mut at = vec![0; threads.len()];
        let mut must_ring = vec![false; threads.len()];
        let (mut waiting, mut stopped) = (Vec::new(), false);
        for &thread in order {
            let step = threads[thread][at[thread]];
            at[thread] += 1;
            match step {
                Step::Insert(_) | Step::InsertSurely => {
                    let (command, number) = match step {
                        Step::Insert(number) => (command(number), number),
                        _ => (Command::Stop, 100),
                    };
                    let expected = match (stopped, waiting.len() < commands_max || number == 100) {
                        (true, _) => Err(PeerError::Gone),
                        (false, false) => Err(PeerError::Full),
                        (false, true) => Ok(waiting.is_empty()),
                    };
                    assert_eq!(mailbox.insert(command), expected, "in the order {order:?}");
                    refused += usize::from(expected == Err(PeerError::Full));
                    must_ring[thread] = expected == Ok(true);
                    waiting.extend(expected.is_ok().then_some(number));
                }
                Step::Ring => {
                    if std::mem::take(&mut must_ring[thread]) {
                        mailbox.ring();
                    }
                }
                Step::Silence => mailbox.silence(),
                Step::Take => {
                    let taken = std::mem::take(&mut waiting);
                    assert_eq!(numbers(mailbox.empty()), taken, "in the order {order:?}");
                }
                Step::Stop => {
                    mailbox.stop();
                    (waiting, stopped) = (Vec::new(), true);
                }
            }
        }
        // All have rung who must: whatever is left, the shard is told to look.
        let is_told = rings(&mailbox);
        assert!(is_told || waiting.is_empty(), "left asleep in the order {order:?}");
        assert_eq!(numbers(mailbox.take()), waiting);
    });
    (runs, refused)
}

#[test]
fn no_command_is_lost_doubled_or_left_asleep_in_any_interleaving() {
    use Step::{Insert, InsertSurely, Ring, Silence, Stop, Take};
    let twice = [Insert(10), Ring, Insert(11), Ring];
    let once = [Insert(20), Ring];
    let looks = [Silence, Take, Silence, Take];
    for (commands_max, some_are_refused) in [(9, false), (1, true)] {
        // 10 steps of threads with 4, 2 and 4: 10! / (4! 2! 4!).
        let (runs, refused) = run_all(commands_max, &[&twice, &once, &looks]);
        assert_eq!((runs, refused > 0), (3_150, some_are_refused));
    }
    let (runs, refused) = run_all(1, &[&twice, &[InsertSurely, Ring], &once, &[Silence, Take]]);
    // 10! / (4! 2! 2! 2!).
    assert!(runs == 18_900 && refused > 0, "{runs}, {refused}");
    let (runs, _) = run_all(2, &[&twice, &once, &[Silence, Take, Stop]]);
    assert_eq!(runs, 1_260, "9! / (4! 2! 3!)");
}
