//! Splitting lines at white space.

use crate::short;

/// Calls `each` with the words of a line, as [`str::split_whitespace`] gives them.
///
/// Most lines are ASCII: those are looked at eight bytes at a time (Mycroft, "Determining if a word has a byte between m
/// and n", in "Bit Twiddling Hacks", Anderson 2005), which is twice as fast as to decode one character after the other.
#[inline]
pub fn words<'a>(line: &'a str, mut each: impl FnMut(&'a str)) {
    if !line.is_ascii() {
        return line.split_whitespace().for_each(each);
    }
    let mut start = 0;
    let mut word = |start: usize, end: usize| {
        if start < end {
            each(&line[start..end]);
        }
    };
    let (chunks, rest) = line.as_bytes().as_chunks();
    let chunks = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk));
    for (index, chunk) in chunks.chain([short::word(rest)]).enumerate() {
        let mut white = white(chunk);
        while white != 0 {
            let end = 8 * index + white.trailing_zeros() as usize / 8;
            word(start, end);
            start = end + 1;
            white &= white - 1;
        }
    }
    word(start, line.len());
}

/// The highest bit of each byte that is white space, where all are ASCII: nothing carries from one to the next.
#[inline]
fn white(bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let at_least = |byte: u64| bytes + EACH * (0x80 - byte);
    let other_than_space = (bytes ^ (EACH * 0x20)) + EACH * 0x7f;
    ((at_least(9) & !at_least(14)) | !other_than_space) & (EACH * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_standard_library() {
        let check = |line: &str| {
            let mut found = Vec::new();
            words(line, |word| found.push(word));
            assert_eq!(found, line.split_whitespace().collect::<Vec<_>>(), "{line:?}");
        };
        for text in [
            "",
            " ",
            "a",
            " a",
            "a ",
            "12345678",
            "1234567 ",
            " 1234567",
            "a\u{a0}b c",
            "the quick  brown fox ",
        ] {
            check(text);
        }
        // Every byte at every place of a chunk, and behind the last one.
        for byte in 0..128u8 {
            for place in 0..20 {
                let mut line = "x".repeat(20);
                line.replace_range(place..=place, &char::from(byte).to_string());
                check(&line);
                check(&line.replace('x', " "));
            }
        }
    }
}
