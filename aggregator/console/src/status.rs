//! Every lead with its state now and its history, page by page.

use clickhouse::{Client, Row, query::Query};
use serde::Deserialize;
use serde_json::Value;
use std::{fmt, str::FromStr};
use uuid::Uuid;

use crate::ask::{AskError, Object, objects};

/// Entries of a page, at most.
pub const PAGE_MAX: u32 = 1000;

/// What a list is asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The program.
    pub program: String,
    /// Only leads that this referrer is credited with, or that were refused them.
    pub referrer: Option<String>,
    /// Test events instead of live ones.
    pub is_test: bool,
    /// Only what comes after this place.
    pub after: Option<PageCursor>,
    /// Entries, at most [`PAGE_MAX`].
    pub limit: u32,
}

/// A place in a list: by time of receipt, then by event id. As text `MILLISECONDS.ID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCursor {
    /// When the events API took the event, milliseconds since the epoch.
    pub since_ms: i64,
    /// The event.
    pub event_id: Uuid,
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.since_ms, self.event_id.hyphenated())
    }
}

impl FromStr for PageCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<PageCursor, ()> {
        let (ms, id) = text.split_once('.').ok_or(())?;
        let since_ms = ms.parse().map_err(|_| ())?;
        Ok(PageCursor { since_ms, event_id: id.parse().map_err(|_| ())? })
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The entries, oldest first.
    pub items: Vec<Object>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<PageCursor>,
}

/// A page of leads and waiting qualifications with their states.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn page(client: &Client, selection: &Selection) -> Result<Page, AskError> {
    let limit = selection.limit.clamp(1, PAGE_MAX);
    // One more than the page has: so it is known whether more follow.
    let sql = format!(
        "SELECT event_id, lead, state, why, referrer, channel, link, evidence, since, qualification_events, \
         value_minor, history, rewards, left_out, toUnixTimestamp64Milli(since) AS since_ms \
         FROM {} ORDER BY since, event_id LIMIT {{rows:UInt32}}",
        from(selection)
    );
    let query = bound(client.query(&sql), selection).param("rows", limit + 1);
    Ok(cut(objects(query).await?, limit as usize))
}

/// How many entries a list has behind `selection.after`, or at all.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn count(client: &Client, selection: &Selection) -> Result<u64, AskError> {
    let sql = format!("SELECT count() FROM {}", from(selection));
    Ok(bound(client.query(&sql), selection).fetch_one::<u64>().await?)
}

/// The view with what is asked for; [`bound`] gives its parameters.
fn from(selection: &Selection) -> String {
    let of_referrer = selection.referrer.as_ref().map_or("", |_| "AND referrer = {referrer:String}");
    let after = selection.after.map_or(
        "",
        |_| "AND (since, event_id) > (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), {after_id:UUID})",
    );
    format!("status WHERE program = {{program:String}} AND live = {{live:Bool}} {of_referrer} {after}")
}

fn bound(query: Query, selection: &Selection) -> Query {
    let mut query = query.param("program", &selection.program).param("live", !selection.is_test);
    if let Some(referrer) = &selection.referrer {
        query = query.param("referrer", referrer);
    }
    if let Some(place) = selection.after {
        query = query
            .param("after_ms", place.since_ms)
            .param("after_id", place.event_id.hyphenated().to_string());
    }
    query
}

/// The page of rows that are one more than it has, if there are more.
fn cut(mut items: Vec<Object>, limit: usize) -> Page {
    let more = items.len() > limit;
    items.truncate(limit);
    let places: Vec<Option<PageCursor>> = items.iter_mut().map(take_cursor).collect();
    Page { next: places.last().copied().flatten().filter(|_| more), items }
}

fn take_cursor(item: &mut Object) -> Option<PageCursor> {
    let since_ms = item.remove("since_ms").as_ref().and_then(Value::as_i64)?;
    let event_id = item.get("event_id").and_then(Value::as_str)?.parse().ok()?;
    Some(PageCursor { since_ms, event_id })
}

/// Up to when everything of a program is in.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct Complete {
    /// All that was received before this is stored; milliseconds since the epoch.
    pub through_ms: i64,
    /// What holds it back; empty: nothing.
    pub held_by: String,
}

/// Asks up to when everything is in; `None` where nobody has said so yet.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn complete(client: &Client, program: &str) -> Result<Option<Complete>, AskError> {
    let sql = "SELECT toUnixTimestamp64Milli(complete_through) AS through_ms, held_by FROM completeness \
               WHERE program = {program:String}";
    Ok(client.query(sql).param("program", program).fetch_all::<Complete>().await?.pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is() {
        let place = PageCursor { since_ms: 1_798_760_400_000, event_id: Uuid::from_u128(7) };
        assert_eq!(place.to_string().parse(), Ok(place));
        for wrong in ["", "1", "1.", ".x", "x.00000000-0000-0000-0000-000000000007", "1.' OR 1"] {
            assert!(wrong.parse::<PageCursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_page_has_no_next() {
        let rows = |count: u128| -> Vec<Object> {
            let row = |n| json!({ "event_id": Uuid::from_u128(n).to_string(), "since_ms": 5 });
            (0..count).map(|n| row(n).as_object().unwrap().clone()).collect()
        };
        assert_eq!(cut(rows(2), 2).next, None);
        let page = cut(rows(3), 2);
        assert_eq!(page.next, Some(PageCursor { since_ms: 5, event_id: Uuid::from_u128(1) }));
        assert_eq!(page.items.len(), 2);
        assert!(!page.items[0].contains_key("since_ms"));
        assert_eq!(cut(rows(0), 2), Page { items: vec![], next: None });
    }
}
