//! What a server and a client agree on, seen from outside: a server that does not do what a row is
//! about would be cheap.
//!
//! It costs one connection before the load.

use std::fs;
use std::net::SocketAddr;

use crate::Result;
use crate::load::Load;
use crate::materials::Materials;
use crate::wire::{Caller, TEXT};

/// The cipher suite of a load over TLS, what becomes of the document where messages are
/// compressed, and nothing otherwise.
///
/// # Errors
/// If the server does not compress.
pub(crate) fn agreement(
    address: SocketAddr,
    caller: &Caller,
    materials: &Materials,
    load: Load,
) -> Result<Option<String>> {
    if load.deflate {
        let document = fs::read(materials.document())?;
        let reply = caller.call(address, load)?.exchange(TEXT, &document)?;
        if !reply.is_compressed {
            return Err("what comes back is not compressed".into());
        }
        return Ok(Some(format!("{} bytes as {}", document.len(), reply.payload.len())));
    }
    if load.tls {
        return Ok(caller.call(address, load)?.cipher_suite);
    }
    Ok(None)
}
