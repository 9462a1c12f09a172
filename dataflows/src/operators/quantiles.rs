//! Medians and other quantiles of each key's values.
//!
//! A tree of counts stands over the domain of the values: each node counts those in its part, a sixteenth of that of the node
//! above. A value changes a node in each level, and a quantile is found from the top down.

use std::ops::RangeInclusive;

use crate::collection::Collection;
use crate::operators::map::Map;
use crate::operators::reduce_ordered::ReduceOrdered;
use crate::ordered::Ordered;
use crate::rows::{Float, Row};

/// Medians and other quantiles of each key's values.
pub trait Quantiles<'s, K: Row> {
    /// For each key that has values, these quantiles (0.5 is the median), each with its value: of *n* values in order, the one
    /// of rank *q* × *n*, rounded up; the least one for 0.
    ///
    /// They are exact for values within `domain`; others count as the nearest of it. A value costs a row in each level, of which
    /// there is one for each 4 bits of the domain's size, and equal rows are summed before they are exchanged. A key costs up
    /// to 16 steps a level for each quantile in each epoch in which it changes, whatever the number of its values. An
    /// arrangement holds the nodes that count something: at most a tree over the whole domain, so a coarser unit (seconds
    /// instead of microseconds) makes it smaller.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// # use cutwater_dataflows::rows::Float;
    /// /// How long requests to each page take, in milliseconds, up to an hour.
    /// fn times<'s>(requests: Collection<'s, (Text, i64)>) -> Collection<'s, (Text, (Float, i64))> {
    ///     requests.persist("requests").quantiles("times", 0..=3_600_000, &[0.5, 0.99])
    /// }
    /// ```
    ///
    /// # Panics
    /// If the domain is empty or its size beyond an `i64`, or a quantile is not from 0 to 1.
    #[track_caller]
    fn quantiles(
        self,
        name: &str,
        domain: RangeInclusive<i64>,
        quantiles: &[f64],
    ) -> Collection<'s, (K, (Float, i64))>;
}

impl<'s, K: Row> Quantiles<'s, K> for Collection<'s, (K, i64)> {
    #[track_caller]
    fn quantiles(
        self,
        name: &str,
        domain: RangeInclusive<i64>,
        quantiles: &[f64],
    ) -> Collection<'s, (K, (Float, i64))> {
        let tree = Tree::over(domain);
        let wrong = quantiles.iter().find(|quantile| !(0.0..=1.0).contains(*quantile));
        assert!(wrong.is_none(), "{wrong:?} is no quantile: they are from 0 to 1");
        let quantiles = quantiles.to_vec();
        let nodes = self.flat_map::<(K, Node)>(move |(key, value), out| {
            (0..tree.levels).for_each(|level| out.push((key, tree.node(level, value))));
        });
        nodes.arrange(name).reduce_ordered::<(Float, i64)>(name, move |_key, nodes, out| {
            let count = tree.count(nodes);
            for &quantile in &quantiles {
                let rank = ((quantile * count as f64).ceil() as i64).clamp(1, count.max(1));
                out.extend(tree.find(nodes, rank).map(|value| (quantile.into(), value)));
            }
        })
    }
}

/// A node: its level, from 0 at the top, and its number among those of the level. It is there as often as it counts.
type Node = (i64, i64);

/// Bits of a value that a level decides.
const BITS: i64 = 4;

/// The shape of the tree.
#[derive(Clone, Copy)]
struct Tree {
    first: i64,
    last: i64,
    levels: i64,
}

impl Tree {
    #[track_caller]
    fn over(domain: RangeInclusive<i64>) -> Self {
        let (first, last) = domain.into_inner();
        let size = last.checked_sub(first).filter(|size| *size >= 0);
        let size = size.unwrap_or_else(|| panic!("values from {first} to {last} are no domain"));
        let bits = i64::from(i64::BITS - size.leading_zeros()).max(1);
        Tree { first, last, levels: (bits + BITS - 1) / BITS }
    }

    /// The node of a level that counts a value.
    fn node(self, level: i64, value: i64) -> Node {
        let place = value.clamp(self.first, self.last) - self.first;
        (level, place >> (BITS * (self.levels - 1 - level)))
    }

    /// How many values there are.
    fn count(self, nodes: Ordered<'_, Node>) -> i64 {
        let top = nodes.iter().take_while(|((level, _), _)| *level == 0);
        top.map(|(_, count)| count).sum()
    }

    /// The value of this rank, from 1.
    fn find(self, nodes: Ordered<'_, Node>, mut rank: i64) -> Option<i64> {
        let mut place = 0;
        for level in 0..self.levels {
            let first = place << BITS;
            let below = nodes.from::<Node>((level, first));
            let mut below = below.take_while(|(node, _)| *node <= (level, first | ((1 << BITS) - 1)));
            place = below.find_map(|((_, node), count)| {
                let found = rank <= count;
                rank -= if found { 0 } else { count };
                found.then_some(node)
            })?;
        }
        Some(self.first + place)
    }
}
