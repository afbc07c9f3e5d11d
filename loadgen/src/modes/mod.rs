//! The modes: each makes one kind of load and reports on it. Options are parsed and results are
//! printed elsewhere.

pub(crate) mod churn;
pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod fuzzing_client;
pub(crate) mod headers;
pub(crate) mod idle;
