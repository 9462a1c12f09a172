//! How the rows of an epoch are spread over POSTs.

/// The rows of one POST.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Whole lines.
    pub(super) body: &'a [u8],
    /// Which part it is, from 1 on.
    pub(super) number: usize,
    /// How many there are.
    pub(super) of: usize,
    /// The first of its rows, counted over the whole epoch from 1 on.
    pub(super) first: u64,
    /// The last of its rows.
    pub(super) last: u64,
}

impl<'a> Part<'a> {
    /// A part of this part's body, as one of those of the whole: it has its number.
    pub(super) fn within(self, part: &Part<'_>) -> Part<'a> {
        let before = part.first - 1;
        let (first, last) = (before + self.first, before + self.last);
        Part { number: part.number, of: part.of, first, last, ..self }
    }
}

/// The lines of `body` in parts of at most `most` bytes, as many lines in each as it takes; a line that is longer is a part
/// of its own. The same lines and limit give the same parts.
pub(super) fn parts(body: &[u8], most: usize) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut begin = 0;
    let mut end = 0;
    for (row, line) in (1..).zip(body.split_inclusive(|&byte| byte == b'\n')) {
        let fits = end + line.len() - begin <= most;
        end += line.len();
        match parts.last_mut() {
            Some(part) if fits => {
                part.body = &body[begin..end];
                part.last = row;
            }
            _ => {
                begin = end - line.len();
                let number = parts.len() + 1;
                parts.push(Part { body: &body[begin..end], number, of: 0, first: row, last: row });
            }
        }
    }
    let of = parts.len();
    parts.iter_mut().for_each(|part| part.of = of);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(body: &str, most: usize) -> Vec<(u64, u64)> {
        parts(body.as_bytes(), most).iter().map(|part| (part.first, part.last)).collect()
    }

    #[test]
    fn every_row_is_in_one_part_and_parts_are_as_large_as_they_may_be() {
        let body = "a\nbb\nccc\ndddddddd\ne\nf\n";
        assert_eq!(ranges(body, 100), [(1, 6)]);
        assert_eq!(ranges(body, 5), [(1, 2), (3, 3), (4, 4), (5, 6)]);
        assert_eq!(ranges(body, 1), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]);
        assert_eq!(ranges("", 5), []);
        for most in 1..30 {
            let parts = parts(body.as_bytes(), most);
            assert_eq!(parts.iter().flat_map(|part| part.body).copied().collect::<Vec<_>>(), body.as_bytes());
            for (index, part) in parts.iter().enumerate() {
                assert_eq!((part.number, part.of), (index + 1, parts.len()));
                assert!(part.body.len() <= most || part.first == part.last);
            }
        }
    }
}
