//! What an erasure touched. Whose it was is not kept: its keys are hashes, by which rewards are counted here until the keys
//! cease to lead to them.

use clickhouse::Client;
use uuid::Uuid;

use crate::ask::{AskError, Object, objects};

// The erasure's own row is stored before its keys, of which there is one at least: without them it is not done.
const SQL: &str = "
WITH
    (
        SELECT max(received_at) FROM erasures WHERE program = {program:String} AND id = {id:UUID}
    ) AS taken_at,
    (
        SELECT groupUniqArray(key) FROM subject_keys
        WHERE program = {program:String} AND kind = 'erased' AND received_at = taken_at AND event_id = {id:UUID}
    ) AS suppressed_keys
SELECT id, occurred_at, received_at, requested_by, source, live, events,
    greatest(erasures.rewards,
        (
            SELECT uniqExact(reward_id) FROM rewards
            WHERE program = {program:String} AND lead_id IN
                (SELECT event_id FROM subject_keys WHERE program = {program:String} AND kind = 'lead' AND key IN suppressed_keys)
        )) AS rewards,
    length(suppressed_keys) AS keys
FROM erasures
WHERE program = {program:String} AND id = {id:UUID} AND notEmpty(suppressed_keys)
LIMIT 1";

/// The erasure of this event id, as soon as it is done: `events` whose personal columns are blank, `rewards` that stay
/// without a name, `keys` that find nobody any more. `None`: there is none, or it is not consumed yet.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn erasure(client: &Client, program: &str, id: Uuid) -> Result<Option<Object>, AskError> {
    let query = client.query(SQL).param("program", program).param("id", id.hyphenated().to_string());
    Ok(objects(query).await?.pop())
}
