//! What users do on a site: views of pages, sessions, a funnel, and who comes back.

mod samples;

use std::time::Duration;

use crate::duration;
use crate::prelude::*;

pub use samples::samples;

/// Follows what users do: views of pages, sessions, a funnel, and who is new or returns
///
/// Input views: {user, page, at}; other fields are ignored. A record is a view of its own, also where it is equal to another:
/// one that may be sent twice has something that tells, an id say, and --deduplicate names it.
///
/// Output pages has for each page and window the number of views and, exactly, of users; a window is a time of that length from
/// its start on, which is the column, and null with --window 0. Output sessions has the sessions of each user: views of which
/// each comes at most the gap after the one before, with the times of the first and the last one and their number. Output
/// funnel has for each step of --funnel how many users have come that far: they viewed the page of step 1, at that time or
/// later that of step 2, and so on. Output visitors has for each day, in UTC, how many of its users had no view on a day before,
/// and how many had.
///
/// A view that comes late corrects all of it, whatever its time. With --lateness D, one that is further behind the watermark is a
/// dead letter, and windows and sessions that nothing can change any more leave the state.
///
/// Example: cutwater run user-behaviour -t views=clicks --funnel home,cart,paid --lateness 1h -o
/// pages=kafka:pages -o sessions=kafka:sessions -o funnel=none -o visitors=none --emit upserts
#[derive(clap::Args, Clone, Debug)]
pub struct UserBehaviour {
    /// How long a window of pages is; 0 is one for all time
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "1m")]
    pub window: Duration,
    /// How long a user may be away within a session
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30m")]
    pub gap: Duration,
    /// The pages of a funnel, in order; without it, output funnel has no rows
    #[arg(long, value_name = "PAGE,PAGE,…", value_delimiter = ',', value_parser = page)]
    pub funnel: Vec<String>,
    /// Count a record once whose FIELD has a value that came before; one whose FIELD is null always counts
    #[arg(long, value_name = "FIELD", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub deduplicate: Option<String>,
}

/// Reads a page of a funnel.
fn page(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a page of it has no name".to_owned()) } else { Ok(text.to_owned()) }
}

/// A view of a page.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct View {
    user: Text,
    page: Text,
    at: Timestamp,
}

/// A view, by its user.
type Viewed = (Text, (Timestamp, Text));

impl Dataflow for UserBehaviour {
    const NAME: &'static str = "user-behaviour";

    fn build(&self, flow: &Flow<'_>) {
        let views = match &self.deduplicate {
            Some(field) => once(flow, field),
            None => {
                let views = flow.input("views").event_time("at").rows::<View>();
                views.map::<Viewed>(|view| (view.user, (view.at, view.page)))
            }
        };
        pages(views.clone(), self.window);
        sessions(views.clone(), self.gap);
        let days = days(views.clone());
        // Of each user.
        let first =
            days.clone().arrange("days of users").reduce::<Timestamp>("first day", |_user, days, out| {
                out.extend(days.first());
            });
        self.funnel(views, first.clone());
        visitors(days, first);
    }
}

/// Views of which each has another value in a field.
fn once<'s>(flow: &Flow<'s>, field: &str) -> Collection<'s, Viewed> {
    let mut schema = Schema::of::<View>();
    let place = schema.columns.iter().position(|column| column.name == field).unwrap_or_else(|| {
        schema.columns.push(Column { name: field.to_owned(), kind: Kind::Any });
        schema.columns.len() - 1
    });
    let views = flow.input("views").event_time("at").dyn_rows(schema);
    let views = views.flat_map::<(DynRow, Viewed)>(move |row, out| {
        let mut values = row.values();
        let view = (values.next(), values.next(), values.next());
        let (Some(Value::Text(user)), Some(Value::Text(page)), Some(Value::Timestamp(at))) = view else {
            unreachable!("the format has filled the columns of the schema");
        };
        let value = DynRow::new(row.get(place));
        out.push((value.borrow(), (user, (at, page))));
    });
    let is_null = |value: &<DynRow as Row>::Ref<'_>| value.get(0) == Some(Value::Null);
    let known = views.clone().filter(move |(value, _)| !is_null(value)).deduplicate("views");
    let unknown = views.filter(move |(value, _)| is_null(value));
    known.concat(unknown).map::<Viewed>(|&(_value, view)| view)
}

/// Views and users of each page and window.
fn pages(views: Collection<'_, Viewed>, size: Duration) {
    type Of = (Text, Option<Timestamp>);
    let window = Window::tumbling(size);
    // How often each user has viewed it: the users of a page are as many as these.
    let users = views.flat_map::<((Of, Text), i64)>(move |(user, (at, page)), out| {
        out.push((((page, window.start(at)), user), 1));
    });
    let users = users.sum_until("users of pages", move |((_page, start), _user)| window.end(start));
    let pages = users.map::<(Of, (i64, i64))>(|&((of, _user), views)| (of, (views, 1)));
    let pages = pages.sum_until("pages", move |(_page, start)| window.end(start));
    pages.output("pages", &["page", "window"], &["views", "users"]);
}

/// Sessions of each user.
fn sessions(views: Collection<'_, Viewed>, gap: Duration) {
    let times = views.map::<(Text, Timestamp)>(|&(user, (at, _page))| (user, at));
    let sessions = times.sessions("sessions", gap);
    let flat = sessions
        .map::<(Text, Timestamp, Timestamp, i64)>(|&(user, (start, end, views))| (user, start, end, views));
    flat.unique_by(2).output("sessions", &["user", "start"], &["end", "views"]);
}

/// The days on which a user was there, each once.
fn days(views: Collection<'_, Viewed>) -> Collection<'_, (Text, Timestamp)> {
    let day = Window::tumbling(DAY);
    let views = views.flat_map::<((Text, Timestamp), i64)>(move |(user, (at, _page)), out| {
        out.extend(day.start(at).map(|day| ((user, day), 1)));
    });
    views.sum("days").map::<(Text, Timestamp)>(|&(day, _views)| day)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl UserBehaviour {
    /// How many users have come to each step. `users`: all there are, each once.
    fn funnel<'s>(&self, views: Collection<'s, Viewed>, users: Collection<'s, (Text, Timestamp)>) {
        type Step = (i64, Text);
        let pages: Vec<Text> = self.funnel.iter().map(|page| Text::from(page.as_str())).collect();
        let named = pages.clone();
        let views = views.filter(move |(_, (_, page))| named.iter().any(|step| step.as_str() == *page));
        let come = views.persist("views of the funnel").sequence("come", &pages);
        // From the first view on there is a row for each step, also where nobody has come to it.
        let named = pages.clone();
        let steps = users.flat_map::<(Step, i64)>(move |_user, out| {
            (1..).zip(&named).for_each(|(step, page)| out.push(((step, page.as_str()), 0)));
        });
        let steps = steps.concat(come.flat_map::<(Step, i64)>(move |(_user, come), out| {
            (1..=come).zip(&pages).for_each(|(step, page)| out.push(((step, page.as_str()), 1)));
        }));
        let funnel = steps.sum("funnel");
        let flat = funnel.map::<(i64, Text, i64)>(|&((step, page), users)| (step, page, users));
        // A step has one page.
        flat.unique_by(1).output("funnel", &["step"], &["page", "users"]);
    }
}

/// Users of each day, by whether it is their first one.
fn visitors<'s>(days: Collection<'s, (Text, Timestamp)>, first: Collection<'s, (Text, Timestamp)>) {
    let all = days.map::<(Timestamp, (i64, i64))>(|&(_user, day)| (day, (0, 1)));
    let new = first.map::<(Timestamp, (i64, i64))>(|&(_user, day)| (day, (1, -1)));
    let visitors = all.concat(new).sum("visitors");
    visitors.output("visitors", &["day"], &["new", "returning"]);
}

#[cfg(test)]
mod tests;
