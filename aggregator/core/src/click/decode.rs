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
    let Some((made_by, made_by_reason)) = made_by(&click, verdict) else {
        return Err(refused(id, click, "made_by is unknown"));
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
        made_by,
        made_by_reason: Lc(made_by_reason),
        reading: Lc(click.reading),
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

/// Who made the click, and why it is thought so: as the record says of one on a link that led nowhere, and else the
/// verdict. `None` if that is no verdict on anybody.
fn made_by(click: &Click, verdict: Verdict) -> Option<(Verdict, String)> {
    match Verdict::try_from(click.made_by) {
        Err(_) | Ok(Verdict::Inactive) => None,
        Ok(made_by) if verdict == Verdict::Inactive => Some((made_by, click.made_by_reason.clone())),
        Ok(_) => Some((verdict, click.reason.clone())),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_made_a_click_is_known_wherever_the_link_led() {
        let of = |verdict: Verdict, reason: &str, said: i32, why: &str| {
            let click = Click {
                verdict: verdict.into(),
                reason: reason.into(),
                made_by: said,
                made_by_reason: why.into(),
                ..Click::default()
            };
            made_by(&click, verdict)
        };
        let bot = Some((Verdict::Bot, "scanner".to_owned()));
        assert_eq!(of(Verdict::Bot, "scanner", 0, ""), bot);
        assert_eq!(of(Verdict::Inactive, "link_disabled", Verdict::Bot.into(), "scanner"), bot);
        let several = Some((Verdict::Unspecified, String::new()));
        assert_eq!(of(Verdict::Inactive, "unknown_link_limited", 0, ""), several);
        assert_eq!(of(Verdict::Inactive, "link_disabled", Verdict::Inactive.into(), "link_disabled"), None);
        assert_eq!(of(Verdict::Human, "browser", 99, ""), None);
    }
}
