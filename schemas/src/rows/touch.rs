//! A touch of a lead, as an element of the column `leads.touches`.

use super::column::Column;
use crate::time::UnixMs;
use uuid::Uuid;

/// What a lead offers in evidence. Whether its click is within a window is for whoever decides: that
/// depends on the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchValue {
    /// The click that a token proves; nil where there is no token, or one that proves nothing.
    pub click_id: Uuid,
    /// Its time, or 0.
    pub clicked_at: UnixMs,
    /// The referrer that it names.
    pub referrer: String,
    /// `host/code`.
    pub link: String,
    /// Channel.
    pub channel: String,
    /// Why the token proves nothing; empty where it does, and for codes.
    pub refused: String,
}

impl Column for TouchValue {
    fn kind() -> String {
        "Tuple(click_id UUID, clicked_at DateTime64(3, 'UTC'), referrer String, link String, channel String, \
         refused String)"
            .into()
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.click_id.put(out);
        self.clicked_at.put(out);
        [&self.referrer, &self.link, &self.channel, &self.refused].into_iter().for_each(|text| text.put(out));
    }

    fn take(bytes: &mut &[u8]) -> Option<TouchValue> {
        Some(TouchValue {
            click_id: Column::take(bytes)?,
            clicked_at: Column::take(bytes)?,
            referrer: Column::take(bytes)?,
            link: Column::take(bytes)?,
            channel: Column::take(bytes)?,
            refused: Column::take(bytes)?,
        })
    }
}
