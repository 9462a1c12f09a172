//! Another user and password for a client that lives, by `rd_kafka_sasl_set_credentials`.
//!
//! # Why the unsafe code is sound
//! The client is borrowed and so alive; librdkafka copies both texts before it returns, under a lock of its own. An error
//! that it returns is ours: it is read and destroyed here, once.

use std::ffi::{CStr, CString};

use anyhow::{Context as _, Result, bail};
use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;

/// Connections that are made from now on, and those that prove anew who they are, are of this user.
///
/// # Errors
/// If librdkafka does not take them.
pub(crate) fn set_login<C: ClientContext>(client: &Client<C>, user: &str, password: &str) -> Result<()> {
    let user = CString::new(user).context("the user")?;
    let password = CString::new(password).context("the password")?;
    // SAFETY: the client is alive, and both texts end with a zero.
    let error =
        unsafe { sys::rd_kafka_sasl_set_credentials(client.native_ptr(), user.as_ptr(), password.as_ptr()) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: it is an error that librdkafka has given to us; its text lives as long as it.
    let text = unsafe {
        let text = CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        sys::rd_kafka_error_destroy(error);
        text
    };
    bail!("{text}")
}
