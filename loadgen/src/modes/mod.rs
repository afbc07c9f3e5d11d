//! The modes: each makes one kind of load and reports on it. Options are parsed and results are
//! printed elsewhere.

pub(crate) mod churn;
pub(crate) mod compare;
pub(crate) mod echo;
mod echo_run;
pub(crate) mod fanout;
mod fanout_run;
pub(crate) mod fuzzing_client;
pub(crate) mod headers;
pub(crate) mod idle;
pub(crate) mod matrix;
pub(crate) mod search;
pub(crate) mod slow;
mod trial;
