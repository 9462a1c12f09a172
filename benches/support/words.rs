//! Distinct words by number, so that no list of them is in memory.

/// How many words of seven letters there are.
const WORDS: u64 = 26u64.pow(7);
/// Without a factor in common with `WORDS`: so no two numbers give the same word.
const STRIDE: u64 = 4_972_653_511;

/// Appends the word of that number, of seven letters.
pub(crate) fn push(number: u64, into: &mut String) {
    let mut rest = (u128::from(number) * u128::from(STRIDE) % u128::from(WORDS)) as u64;
    for _ in 0..7 {
        into.push((b'a' + (rest % 26) as u8) as char);
        rest /= 26;
    }
}
