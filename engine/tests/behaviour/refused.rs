//! A kernel or container that refuses io_uring: epoll takes its place where that was left open, and
//! only then.

use std::io;

use ringsock::server::DriverInUse;
use ringsock::{Cores, Driver, Result, Running, Server, SetupError};

use crate::client::Client;
use crate::seccomp::with_io_uring_refused;
use crate::served::{Echo, Served};

fn start(driver: Driver) -> Result<Running> {
    let server = Server::builder().listen("127.0.0.1:0")?.cores(Cores::List(vec![0]));
    server.driver(driver).start(|_| Echo)
}

fn echo_on_epoll(running: Running) {
    assert_eq!(running.driver(), DriverInUse::Epoll);
    let server = Served::adopt(running);
    Client::connect(server.address).echo("served all the same");
    server.stop();
}

/// The message of an error that names the refusal in one line and says what to do.
fn check_refusal(error: SetupError, errno: i32) {
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    assert!(text.contains("use the epoll driver"), "{text}");
    match error {
        SetupError::RingUnavailable { source, .. } => {
            assert_eq!(source.raw_os_error(), Some(errno), "{text}");
            assert!(text.contains(&source.to_string()), "{text}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn where_io_uring_is_forbidden_or_missing_epoll_serves() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EINVAL] {
        with_io_uring_refused(errno, || {
            echo_on_epoll(start(Driver::Auto).expect("it starts without io_uring"));
        });
    }
}

#[test]
fn the_ring_is_not_replaced_when_it_was_demanded() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        with_io_uring_refused(errno, || {
            let error = start(Driver::Ring).expect_err("the ring cannot start");
            check_refusal(error, errno);
            check_refusal(ringsock::server::probe_ring().expect_err("the probe sees it"), errno);
        });
    }
}

#[test]
fn a_shortage_is_an_error_and_no_reason_for_another_driver() {
    for errno in [libc::ENOMEM, libc::EMFILE, libc::ENFILE] {
        with_io_uring_refused(errno, || match start(Driver::Auto) {
            Err(SetupError::RingUnavailable { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(errno));
            }
            Err(other) => panic!("another error: {other}"),
            Ok(running) => {
                let driver = running.driver();
                Served::adopt(running).stop();
                panic!("{} was hidden by {driver}", io::Error::from_raw_os_error(errno));
            }
        });
    }
}

#[test]
fn epoll_does_not_touch_io_uring() {
    with_io_uring_refused(libc::EPERM, || {
        echo_on_epoll(start(Driver::Epoll).expect("it needs no io_uring"));
    });
}
