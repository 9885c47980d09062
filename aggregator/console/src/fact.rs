//! One lead event or qualification as it stands, by its id.

use clickhouse::Client;
use uuid::Uuid;
use whence_schemas::sql::{View, views};

use crate::ask::{AskError, Object, objects};

/// What is read by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A lead event: a row of the view `lead_facts`.
    Lead,
    /// A qualification event: a row of the view `qualification_facts`.
    Qualification,
}

/// Where a view takes the newest of each event's rows.
const NEWEST: &str = "ORDER BY program, id, revision DESC";

impl Fact {
    /// All there are.
    pub const ALL: [Fact; 2] = [Fact::Lead, Fact::Qualification];

    /// The part of the path that its ids stand behind.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Fact::Lead => "leads",
            Fact::Qualification => "qualifications",
        }
    }

    /// The view that has a row of each.
    ///
    /// # Panics
    /// The view has no file; a test asks for each.
    #[must_use]
    pub fn view(self) -> &'static View {
        let name = match self {
            Fact::Lead => "lead_facts",
            Fact::Qualification => "qualification_facts",
        };
        views().into_iter().find(|view| view.name == name).expect("the view has a file")
    }

    /// The view's own query, of one event: ClickHouse takes no condition from outside into it, and would read all.
    fn sql(self) -> String {
        let of_one = format!("WHERE program = {{program:String}} AND id = {{id:UUID}} {NEWEST}");
        self.view().query().replace(NEWEST, &of_one)
    }
}

/// The event of this id; `None`: there is none, or it is not consumed yet.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn fact(client: &Client, fact: Fact, program: &str, id: Uuid) -> Result<Option<Object>, AskError> {
    let query = client.query(&fact.sql()).param("program", program).param("id", id.hyphenated().to_string());
    let mut found = objects(query).await?;
    found.iter_mut().for_each(|row| _ = row.remove("program"));
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_view_is_asked_for_one_event() {
        for fact in Fact::ALL {
            assert_eq!(fact.view().query().matches(NEWEST).count(), 1);
            assert!(fact.sql().contains("AND id = {id:UUID}"));
        }
    }
}
