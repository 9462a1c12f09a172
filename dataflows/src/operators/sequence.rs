//! How far each key has come along a sequence of steps: a funnel.

use crate::collection::Collection;
use crate::group::Group;
use crate::operators::map::Map;
use crate::operators::reduce::Reduce;
use crate::rows::{Row, Schema, encode};

/// How far each key has come along a sequence of steps: a funnel.
pub trait Sequence<'s, K: Row, O: Row, V: Row> {
    /// For each key the number of `steps` it has taken, in their order; none for a key that has not taken the first one.
    ///
    /// A row takes a step if it has the step's value, and comes, by its order (a time, say), at the row that took the step
    /// before, or later. A row takes one step: the same value twice in a row among the steps takes two rows, be it two equal
    /// ones. Rows of the same order may take steps in any order. Rows in between that take no step do not matter, and a row
    /// that is there less than once takes none.
    ///
    /// The answer follows from the rows that are there: one that comes late, or is withdrawn, changes it as if it had been
    /// so from the start. It is found by taking each step with the first row that can take it: whoever takes a step earlier
    /// has no fewer ways to go on.
    ///
    /// Rows whose value is no step are dropped at once. Of the others, an arrangement holds the key, a number and the order:
    /// about 40 bytes a row beside the key. A key costs its rows in each epoch in which one of them changes, of which a
    /// search for each step decodes a logarithm of their number.
    ///
    /// ```
    /// # use cutwater_dataflows::prelude::*;
    /// /// How far each user has come from the shop's door to the till.
    /// fn come<'s>(views: Collection<'s, (Text, (Timestamp, Text))>) -> Collection<'s, (Text, i64)> {
    ///     let steps = ["door", "cart", "till"].map(Text::from);
    ///     views.persist("views").sequence("come", &steps)
    /// }
    /// # use cutwater_dataflows::testing::{Given, Test, given};
    /// # let test = Test::building("come", |flow| {
    /// #     come(flow.input("views").decode(Given::new())).output("come", &["user"], &["steps"]);
    /// # });
    /// # let view = |page: &str, at| {
    /// #     ("views", given(&(Text::from("ann"), (Timestamp::from_micros(at), Text::from(page))), 1))
    /// # };
    /// # let outcome = test.epoch([view("cart", 1), view("till", 2)]).epoch([view("door", 1)]).check();
    /// # assert_eq!(outcome.changes_of("come", 2), [r#"+1 {"user":"ann","steps":3}"#]);
    /// ```
    fn sequence(self, name: &str, steps: &[V]) -> Collection<'s, (K, i64)>;
}

impl<'s, K: Row, O: Row, V: Row> Sequence<'s, K, O, V> for Collection<'s, (K, (O, V))> {
    fn sequence(self, name: &str, steps: &[V]) -> Collection<'s, (K, i64)> {
        let mut values: Vec<Vec<u8>> = Vec::new();
        // Of each step the number of its value: steps of the same value share one.
        let steps: Vec<i64> = steps
            .iter()
            .map(|step| {
                let step = encode(step);
                let known = values.iter().position(|value| *value == step);
                known.unwrap_or_else(|| {
                    values.push(step);
                    values.len() - 1
                }) as i64
            })
            .collect();
        let mut scratch = Vec::new();
        let taking = self.flat_map::<(K, (i64, O))>(move |(key, (order, value)), out| {
            let value =
                V::with_encoding(value, &mut scratch, |value| values.iter().position(|one| one == value));
            out.extend(value.map(|value| (key, (value as i64, order))));
        });
        let come = taking.arrange(name).reduce::<i64>(name, move |_key, rows, out| {
            out.extend(Some(taken(rows, &steps)).filter(|&taken| taken > 0));
        });
        come.unique_by(Schema::of::<K>().columns.len())
    }
}

/// How many steps these rows take.
fn taken<O: Row>(rows: Group<'_, (i64, O)>, steps: &[i64]) -> i64 {
    // The rows that took a step: by their place, and how often.
    let mut used: Vec<(usize, i64)> = Vec::new();
    let mut since: Option<O> = None;
    for &value in steps {
        let earliest =
            |&(of, order): &(i64, O::Ref<'_>)| (of, Some(O::to_owned(order))) >= (value, since.clone());
        let mut place = partition(rows, |row| !earliest(row));
        let next = loop {
            let Some(((_, order), times)) = rows.iter().nth(place).filter(|((of, _), _)| *of == value) else {
                return used.iter().map(|(_, times)| times).sum();
            };
            match used.iter_mut().find(|(used, _)| *used == place) {
                Some((_, taken)) if *taken < times => {
                    *taken += 1;
                    break O::to_owned(order);
                }
                None if times > 0 => {
                    used.push((place, 1));
                    break O::to_owned(order);
                }
                _ => place += 1,
            }
        };
        since = Some(next);
    }
    steps.len() as i64
}

/// How many rows at the front are so, where none is so after one that is not.
fn partition<R: Row>(rows: Group<'_, R>, so: impl Fn(&R::Ref<'_>) -> bool) -> usize {
    let (mut first, mut last) = (0, rows.len());
    while first < last {
        let middle = first.midpoint(last);
        if rows.iter().nth(middle).is_some_and(|(row, _)| so(&row)) {
            first = middle + 1;
        } else {
            last = middle;
        }
    }
    first
}
