//! Every order in which threads can come to something they share, run one after the other: each
//! step is one critical section, one atomic operation or one system call of one thread. What the
//! memory model allows beyond that is not seen here: nothing that is tested so relies on more than
//! its lock and on counters that are exact only at rest.

/// Calls `run` with every way to interleave threads of so many steps, each in its own order: the
/// numbers of the threads in the order of their steps. How many there are.
pub(crate) fn interleavings(steps: &[usize], run: &mut impl FnMut(&[usize])) -> usize {
    fn go(left: &mut [usize], order: &mut Vec<usize>, run: &mut impl FnMut(&[usize])) -> usize {
        let mut runs = 0;
        for thread in 0..left.len() {
            if left[thread] > 0 {
                left[thread] -= 1;
                order.push(thread);
                runs += go(left, order, run);
                order.pop();
                left[thread] += 1;
            }
        }
        if runs == 0 {
            run(order);
            runs = 1;
        }
        runs
    }
    go(&mut steps.to_vec(), &mut Vec::new(), run)
}
