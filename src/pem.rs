//! Certificates in PEM files.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The certificates of a file, in order: at least one. `option` is what has named it, as errors show it.
///
/// # Errors
/// If the file can't be read, or has none.
pub(crate) fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.with_context(|| format!("reading {option}"))?;
    ensure!(!read.is_empty(), "{option}: there is no certificate in it: expected PEM");
    Ok(read)
}
