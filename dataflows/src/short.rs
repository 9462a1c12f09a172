//! Short runs of bytes as numbers.

/// Up to eight bytes as a word: the first one lowest, zeros above the last. Where two loads overlap, they agree.
#[inline]
pub(crate) fn word(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    if let Some(whole) = bytes.first_chunk() {
        u64::from_le_bytes(*whole)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from(u16::from_le_bytes(*first)) | u64::from(u16::from_le_bytes(*last)) << (8 * (length - 2))
    } else {
        bytes.first().map_or(0, |&byte| byte.into())
    }
}
