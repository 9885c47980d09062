//! The rows of the fact tables and their encoding as `RowBinaryWithNamesAndTypes`.
//!
//! A table is declared once, by the macro `table`: the struct, its columns and its encoding cannot drift
//! apart, the header makes the server check names and types of every insert, and a test holds the
//! whole against the migrations on the real engine.
//!
//! Every row says where it came from: `incarnation`, `partition` and `offset` of the record that
//! caused it. `revision` is 0 on the row of the record itself and counts the corrections after it; a
//! row with `sign` -1 takes back an earlier one and copies every dimension of it.

pub mod account;
pub mod column;
mod conversions;
mod reward;
mod tables;
mod touch;

pub use account::{Accounted, BlockRow, Least, Most, Total};
pub use column::{Column, Evidence, Lc};
pub use conversions::{
    DisqualificationRow, ErasureRow, IdentifyRow, ParticipantRow, ReinstatementRow, ShareRow,
};
pub use reward::{ClickEvidenceRow, RewardEventRow, RewardRow, RewardState, RewardTermsRow};
pub use tables::{ClickRow, LeadRow, QualificationRow, RejectRow, SubjectKeyRow};
pub use touch::TouchValue;

/// A row of a table of whence.
pub trait Row {
    /// The table's name.
    const TABLE: &'static str;

    /// Name and ClickHouse type of each column, in the order in which they are encoded.
    fn columns() -> Vec<(&'static str, String)>;

    /// Appends the row's bytes (RowBinary).
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes a row off the front of bytes that [`select_list`] asked for. `None`: they are not such a row.
    fn decode(bytes: &mut &[u8]) -> Option<Self>
    where
        Self: Sized;
}

/// What stands between `SELECT` and `FROM` to get whole rows of `R`.
#[must_use]
pub fn select_list<R: Row>() -> String {
    let names: Vec<_> = R::columns().into_iter().map(|(name, _)| format!("`{name}`")).collect();
    names.join(", ")
}

/// The statement that inserts rows of `R` encoded by [`encode_block`].
#[must_use]
pub fn insert_statement<R: Row>() -> String {
    format!("INSERT INTO {} ({}) FORMAT RowBinaryWithNamesAndTypes", R::TABLE, select_list::<R>())
}

/// The body of an insert of these rows: header (number of columns, names, types), then the rows.
#[must_use]
pub fn encode_block<R: Row>(rows: &[R]) -> Vec<u8> {
    const ROW_BYTES_GUESS: usize = 256;
    let mut out = Vec::with_capacity(1024 + rows.len() * ROW_BYTES_GUESS);
    let columns = R::columns();
    column::put_varint(columns.len() as u64, &mut out);
    for (name, _) in &columns {
        column::put_text(name, &mut out);
    }
    for (_, kind) in &columns {
        column::put_text(kind, &mut out);
    }
    for row in rows {
        row.encode(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::Incarnation, time::UnixMs};
    use uuid::Uuid;

    #[test]
    fn a_block_is_header_then_rows_byte_for_byte() {
        let row = RejectRow {
            received_at: UnixMs(1),
            stream: Lc("clicks".into()),
            program: Lc("p".into()),
            event_id: Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            kind: Lc(String::new()),
            reason: Lc("malformed".into()),
            detail: "x\n\ny".into(),
            live: true,
            payload_bytes: 3,
            incarnation: Incarnation(Uuid::nil()),
            partition: 2,
            offset: 300,
        };
        let block = encode_block(std::slice::from_ref(&row));
        let header_columns = RejectRow::columns();
        assert_eq!(usize::from(block[0]), header_columns.len());
        let header: usize = 1 + header_columns.iter().map(|(n, t)| n.len() + t.len() + 2).sum::<usize>();
        let mut expected = 1i64.to_le_bytes().to_vec();
        expected.extend(b"\x06clicks\x01p");
        expected.extend([8, 7, 6, 5, 4, 3, 2, 1, 0x10, 0xf, 0xe, 0xd, 0xc, 0xb, 0xa, 9]);
        expected.extend(b"\x00\x09malformed\x04x\n\ny\x01\x03\0\0\0");
        expected.extend([0; 16]);
        expected.extend(b"\x02\0\0\0");
        expected.extend(300u64.to_le_bytes());
        assert_eq!(&block[header..], expected);
        assert_eq!(RejectRow::decode(&mut &block[header..]), Some(row));
    }

    #[test]
    fn the_statement_names_every_column() {
        let statement = insert_statement::<RejectRow>();
        assert!(statement.starts_with("INSERT INTO rejects (`received_at`, `stream`, "), "{statement}");
        assert!(statement.ends_with("`offset`) FORMAT RowBinaryWithNamesAndTypes"), "{statement}");
    }
}
