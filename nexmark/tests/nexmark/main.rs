//! Each query, held against its SQL: what it has made by a cut is what SQLite makes of all events below it.
#![allow(missing_docs)]

mod cuts;
mod oracle;
mod program;
