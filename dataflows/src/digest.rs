//! Digests: eight bytes that stand for what an output changed by in an epoch.
//!
//! The digest is the sum, modulo 2^64, over all changes of the difference times the XXH3-64 of the encoded row. A sum has
//! no order, and changes that cancel out add nothing: so it is the same however rows come and wherever they are, and each
//! worker can add up its own. It is of the rows, not of what sinks make of them.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use xxhash_rust::xxh3::xxh3_64;

use crate::flat::FlatBatch;
use crate::{Diff, Epoch};

/// What a change adds to the digest of its epoch.
#[inline]
pub fn digest(row: &[u8], diff: Diff) -> u64 {
    xxh3_64(row).wrapping_mul(diff as u64)
}

/// A part of an output's digest: the output's number, and what is to be added.
pub type DigestPart = (usize, u64);

/// Hands on an output's changes, and what they add to the digests of their epochs, under the output's number. What
/// precedes the first epoch has none.
pub fn digested<'s>(
    changes: Stream<'s, Epoch, FlatBatch>,
    number: usize,
) -> (Stream<'s, Epoch, FlatBatch>, Stream<'s, Epoch, Vec<DigestPart>>) {
    let mut builder = OperatorBuilder::new("Digest".to_owned(), changes.scope());
    let mut input = builder.new_input(changes, Pipeline);
    let (rows, rows_stream) = builder.new_output::<FlatBatch>();
    let (digests, digests_stream) = builder.new_output::<Vec<DigestPart>>();
    let mut rows = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(rows);
    let mut digests = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(digests);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let (mut rows, mut digests) = (rows.activate(), digests.activate());
            input.for_each(|capability, batch| {
                if let Some(epoch) = capability.least().filter(|epoch| **epoch > 0) {
                    let all = batch.iter().map(|(row, diff)| digest(row, diff));
                    let sum = all.fold(0, u64::wrapping_add);
                    digests.session(&capability.delayed(epoch, 1)).give((number, sum));
                }
                rows.session(&capability).give_container(batch);
            });
        }
    });
    (rows_stream, digests_stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(changes: &[(&str, Diff)]) -> u64 {
        changes.iter().map(|&(row, diff)| digest(row.as_bytes(), diff)).fold(0, u64::wrapping_add)
    }

    #[test]
    fn the_order_and_what_cancels_out_make_no_difference() {
        let net = sum(&[("a", 3), ("b", -1)]);
        assert_eq!(sum(&[("b", -2), ("a", 1), ("c", 7), ("b", 1), ("a", 2), ("c", -7)]), net);
        assert_eq!(sum(&[("a", 1), ("a", -1)]), 0);
    }

    #[test]
    fn another_row_or_difference_is_another_digest() {
        let digests = [sum(&[("a", 1)]), sum(&[("a", -1)]), sum(&[("a", 2)]), sum(&[("b", 1)]), sum(&[])];
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest));
        }
        // It is stored: it must stay the same.
        assert_eq!(digest(b"a", 1), 0xe6c6_32b6_1e96_4e1f);
    }
}
