//! The bytes of a click record become a row, or a refusal that says why not.

use crate::{position::BlockRange, refusal::Refusal, source::Record};
use whence_schemas::{
    event::{self, Click, Mode, Verdict},
    ids::ClickId,
    rows::{ClickRow, Lc},
};

/// The row of a click record, before deduplication.
pub(super) fn row(range: &BlockRange, record: &Record) -> Result<ClickRow, Refusal> {
    let payload = record.payload.as_ref().ok_or_else(Refusal::damaged)?;
    let click: Click = event::decode(payload).map_err(|error| Refusal::malformed(error.to_string()))?;
    let id = ClickId::from_bytes(&click.id).ok_or_else(|| Refusal::malformed("id is not a UUIDv7"))?;
    let live = match click.mode() {
        Mode::Live => true,
        Mode::Test => false,
        Mode::Unspecified => return Err(refused(id, click, "mode is neither live nor test")),
    };
    if click.program.is_empty() {
        return Err(refused(id, click, "program is empty"));
    }
    let verdict = match Verdict::try_from(click.verdict) {
        Ok(Verdict::Unspecified) | Err(_) => return Err(refused(id, click, "verdict is unknown")),
        Ok(verdict) => verdict,
    };
    if !id.at().is_storable() {
        return Err(refused(id, click, "the time in the id is past the year 2299"));
    }
    Ok(ClickRow {
        program: Lc(click.program),
        ts: id.at(),
        id,
        referrer: click.referrer,
        link: click.link,
        channel: Lc(click.channel),
        destination: click.destination,
        registry_version: click.registry_version,
        verdict,
        reason: Lc(click.reason),
        visitor: click.visitor,
        address: click.address,
        prefix: click.prefix,
        requests: click.requests.max(1),
        live,
        sign: 1,
        incarnation: range.incarnation,
        partition: range.partition.number,
        offset: record.offset,
    })
}

fn refused(id: ClickId, click: Click, why: &str) -> Refusal {
    Refusal {
        received_at: Some(id.at()),
        event_id: id.0,
        kind: "click",
        live: click.mode() == Mode::Live,
        program: click.program,
        ..Refusal::malformed(why)
    }
}
