//! Who is told what is not for everybody. It knows nobody by name: there is one token, or none.

use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

use super::request::Request;
use crate::server::error::{Result, SetupError};

/// The token of the admin address, if there is one.
#[derive(Debug)]
pub(in crate::server) struct AdminAccess {
    address: Option<SocketAddr>,
    token: RwLock<Option<String>>,
}

impl AdminAccess {
    /// An address that others can reach needs a token.
    pub(in crate::server) fn new(
        address: Option<SocketAddr>,
        token: Option<String>,
    ) -> Result<Self> {
        let access = Self { address, token: RwLock::default() };
        access.set_token(token)?;
        Ok(access)
    }

    pub(in crate::server) fn set_token(&self, token: Option<String>) -> Result<()> {
        match self.address {
            Some(address) if token.is_none() && !address.ip().is_loopback() => {
                Err(SetupError::AdminExposed { address })
            }
            _ => {
                *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
                Ok(())
            }
        }
    }

    /// Lets in who has the token, where there is one; else whoever names an address of ours and not a
    /// name of his own, as a web page that was led here would. The error is for who is not let in.
    pub(super) fn check(&self, request: &Request) -> std::result::Result<(), &'static str> {
        match &*self.token.read().unwrap_or_else(PoisonError::into_inner) {
            Some(token) if request.has_token(token) => Ok(()),
            Some(_) => Err("send the header 'Authorization: Bearer TOKEN' with the admin token"),
            None if request.host_is_local() => Ok(()),
            None => Err("ask by address, as in http://127.0.0.1:9601/metrics"),
        }
    }
}
