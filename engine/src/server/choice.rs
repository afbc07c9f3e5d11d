//! Which cores and which driver. The probe itself is the driver's.

use std::fmt;
use std::str::FromStr;

use super::error::{Result, SetupError};
use crate::driver::ring;

/// The cores that get a shard each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// Every core this process may use.
    #[default]
    All,
    /// These.
    List(Vec<usize>),
}

impl FromStr for Cores {
    type Err = String;

    /// Reads `all`, `0,1` or `0-3`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let bad = || format!("'{text}' is not a list of cores: give all, 0,1 or 0-3");
        let number = |text: &str| text.trim().parse::<u16>().map(usize::from).map_err(|_| bad());
        let mut cores = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => cores.extend(number(first)?..=number(last)?),
                None => cores.push(number(part)?),
            }
        }
        cores.dedup();
        if cores.is_empty() { Err(bad()) } else { Ok(Self::List(cores)) }
    }
}

impl Cores {
    pub(super) fn resolve(&self) -> Result<Vec<usize>> {
        let ids = core_affinity::get_core_ids().unwrap_or_default();
        let available: Vec<usize> = ids.into_iter().map(|core| core.id).collect();
        match self {
            Self::All if available.is_empty() => Ok(vec![0]),
            Self::All => Ok(available),
            Self::List(cores) if cores.is_empty() => Err(SetupError::NoCores),
            Self::List(cores) => match cores.iter().find(|core| !available.contains(core)) {
                Some(&core) => Err(SetupError::NoSuchCore { core, available }),
                None => Ok(cores.clone()),
            },
        }
    }
}

/// The driver asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// The data ring where it works, else epoll. A shortage (memory, descriptors) is an error, not
    /// a reason to fall back: epoll would suffer from it too.
    #[default]
    Auto,
    /// The data ring or nothing.
    Ring,
    /// Epoll.
    Epoll,
}

impl FromStr for Driver {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "ring" => Ok(Self::Ring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(format!("'{text}' is not a driver: give auto, ring or epoll")),
        }
    }
}

/// The driver that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverInUse {
    /// The data ring (io_uring).
    Ring,
    /// Epoll.
    Epoll,
}

impl fmt::Display for DriverInUse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ring => "ring",
            Self::Epoll => "epoll",
        })
    }
}

/// Tries the data ring on loopback: `Ok`, or the step that failed and why.
///
/// # Errors
/// [`SetupError::RingUnavailable`].
pub fn probe_ring() -> Result<()> {
    ring::probe().outcome.map_err(|(step, source)| SetupError::RingUnavailable { step, source })
}

impl Driver {
    pub(super) fn resolve(self) -> Result<DriverInUse> {
        if self == Self::Epoll {
            return Ok(DriverInUse::Epoll);
        }
        let report = ring::probe();
        let unavailable = report.is_unavailable();
        match report.outcome {
            Ok(()) => Ok(DriverInUse::Ring),
            Err((step, error)) if self == Self::Auto && unavailable => {
                tracing::warn!(step, %error, "io_uring is not available here; using epoll");
                Ok(DriverInUse::Epoll)
            }
            Err((step, source)) => Err(SetupError::RingUnavailable { step, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read_in_each_form() {
        assert_eq!("all".parse(), Ok(Cores::All));
        assert_eq!("0,2".parse(), Ok(Cores::List(vec![0, 2])));
        assert_eq!("1-3".parse(), Ok(Cores::List(vec![1, 2, 3])));
        for bad in ["", "a", "1-", "3-1", "-1", "1,,2"] {
            assert!(bad.parse::<Cores>().unwrap_err().contains("give all"), "{bad}");
        }
    }

    #[test]
    fn a_core_that_does_not_exist_is_named() {
        let error = Cores::List(vec![4095]).resolve().unwrap_err();
        assert!(error.to_string().contains("core 4095 does not exist"), "{error}");
    }
}
