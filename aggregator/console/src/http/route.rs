//! Paths, queries and the body of a question. Pure.

use std::{collections::BTreeMap, fmt};

use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use uuid::Uuid;
use whence_schemas::ids::ProgramId;

use super::problem::{Code, Problem};
use crate::{
    cursor::Cursor,
    fact::Fact,
    reports::{self, Report},
    status::{self, PAGE_MAX},
    subject::Name,
};

/// Rows where the caller names no number.
const ROWS_DEFAULT: u32 = 100;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The program.
    pub program: ProgramId,
    /// What of it.
    pub about: About,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A lead by its id.
    Lead(String),
    /// The person or referrer that the body names.
    Somebody,
    /// Leads with their states.
    Status,
    /// A lead or qualification by its event id.
    Fact(Fact, Uuid),
    /// An erasure by its event id.
    Erasure(Uuid),
    /// A report.
    Report(Report),
}

impl Route {
    /// The route of a path, or `None` where it leads nowhere.
    pub fn of(path: &str) -> Option<Route> {
        let decode = |part: &str| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned());
        let parts: Vec<String> =
            path.strip_prefix("/v1/programs/")?.split('/').map(decode).collect::<Option<_>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (program, about) = match parts[..] {
            [program, "lineage"] => (program, About::Somebody),
            [program, "lineage", lead] if !lead.is_empty() => (program, About::Lead(lead.to_owned())),
            [program, "status"] => (program, About::Status),
            [program, kind, id]
                if let Some(fact) = Fact::ALL.into_iter().find(|fact| fact.plural() == kind) =>
            {
                (program, About::Fact(fact, id.parse().ok()?))
            }
            [program, "erasures", id] => (program, About::Erasure(id.parse().ok()?)),
            [program, report] => (program, About::Report(Report::of_program(report)?)),
            _ => return None,
        };
        Some(Route { program: program.parse().ok()?, about })
    }

    /// The method it takes.
    pub fn method(&self) -> &'static str {
        if self.about == About::Somebody { "POST" } else { "GET" }
    }

    /// The call's name in metrics.
    pub fn call(&self) -> &'static str {
        match self.about {
            About::Lead(_) | About::Somebody => "lineage",
            About::Status => "status",
            About::Fact(fact, _) => fact.plural(),
            About::Erasure(_) => "erasure",
            About::Report(report) => report.word(),
        }
    }
}

/// The parameters of a query, each taken once.
pub(super) struct Query {
    parameters: BTreeMap<String, String>,
    /// Given more than once.
    twice: Option<String>,
}

impl Query {
    pub fn of(query: Option<&str>) -> Query {
        let (mut parameters, mut twice) = (BTreeMap::new(), None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned() {
            if parameters.insert(name.clone(), value).is_some() {
                twice = Some(name);
            }
        }
        Query { parameters, twice }
    }

    /// Every parameter is read here: one that is there says something.
    fn read<T>(
        &mut self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.parameters.remove(name) {
            None => Ok(None),
            Some(text) if text.is_empty() => Err(invalid(name, &format!("{wanted}; it is empty"))),
            Some(text) => read(&text).map(Some).ok_or_else(|| invalid(name, wanted)),
        }
    }

    /// The referrer that is asked about.
    pub fn referrer(&mut self) -> Result<Option<String>, Problem> {
        self.read("referrer", "a referrer's id", |text| Some(text.to_owned()))
    }

    /// How many lines of a person's come before the page.
    pub fn after_lines(&mut self) -> Result<usize, Problem> {
        let wanted = "the value of `next` of a page";
        Ok(self.parsed("after", wanted)?.unwrap_or(0))
    }

    fn parsed<T: std::str::FromStr>(&mut self, name: &str, wanted: &str) -> Result<Option<T>, Problem> {
        self.read(name, wanted, |text| text.parse().ok())
    }

    fn limit(&mut self, max: u32) -> Result<u32, Problem> {
        let limit = self.parsed("limit", "a number")?.unwrap_or(ROWS_DEFAULT);
        if (1..=max).contains(&limit) {
            Ok(limit)
        } else {
            Err(invalid("limit", &format!("between 1 and {max}")))
        }
    }

    fn day(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let day = |text: &str| reports::day(text).map(|_| text.to_owned());
        self.read(name, "a day that there is, such as 2026-01-31", day)
    }

    /// Refuses what is given twice and what no call takes.
    pub fn finish(self) -> Result<(), Problem> {
        if let Some(name) = self.twice {
            return Err(Problem::new(
                Code::Invalid,
                format_args!("query parameter {} is given twice", shown(&name)),
            ));
        }
        match self.parameters.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(Problem::new(Code::Invalid, format_args!("unknown query parameter {}", shown(name))))
            }
        }
    }

    pub fn status(&mut self, program: &ProgramId) -> Result<status::Selection, Problem> {
        Ok(status::Selection {
            program: program.to_string(),
            referrer: self.referrer()?,
            is_test: self.parsed("test", "true or false")?.unwrap_or(false),
            after: self.parsed("after", "the value of `next` of a page")?,
            limit: self.limit(PAGE_MAX)?,
        })
    }

    pub fn report(&mut self, program: &ProgramId, report: Report) -> Result<reports::Selection, Problem> {
        let limit = self.limit(reports::ROWS_MAX)?;
        let mut selection =
            reports::Selection { program: Some(program.to_string()), ..reports::Selection::first(limit) };
        let fits = |text: &str| text.parse::<Cursor>().ok().filter(|place| place.fits(&report.sort_keys()));
        selection.after = self.read("after", "the value of `next` of a page of this report", fits)?;
        if report.has_days() {
            selection.referrer = self.referrer()?;
            selection.from = self.day("from")?;
            selection.to = self.day("to")?;
            if let (Some(from), Some(to)) = (&selection.from, &selection.to)
                && from > to
            {
                return Err(invalid("from", "no later than to"));
            }
        }
        if report.has_past() {
            let wanted = "a time such as 2026-01-31T12:00:00Z, or a day";
            selection.as_of = self.read("as_of", wanted, reports::as_of)?;
        }
        Ok(selection)
    }
}

/// A parameter's name as it may be repeated to whoever sent it: a short word.
fn shown(name: &str) -> String {
    let is_word =
        name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if is_word { format!("`{name}`") } else { "with a name too long or unusual to repeat here".to_owned() }
}

fn invalid(name: &str, wanted: &str) -> Problem {
    Problem::new(Code::Invalid, format_args!("{name} must be {wanted}"))
}

/// The fields of a JSON object as they stand there, those of one name too.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The person that a body names, and the referrer who asks: `{"email": "…", "referrer": "…"}`.
pub(super) fn somebody(body: &[u8]) -> Result<(Name, String, Option<String>), Problem> {
    const WANTED: &str = "the body must be an object with one of lead, email, phone, customer, contact and event, and a referrer \
         if you like; all are texts";
    let wrong = || Problem::new(Code::Invalid, WANTED);
    let Ok(Fields(given)) = serde_json::from_slice(body) else { return Err(wrong()) };
    let mut fields = BTreeMap::new();
    for (name, value) in given {
        if fields.insert(name.clone(), value).is_some() {
            return Err(Problem::new(
                Code::Invalid,
                format_args!("the field {} is given twice", shown(&name)),
            ));
        }
    }
    let text = |value: Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
    let referrer = fields.remove("referrer").map(text).transpose()?;
    if referrer.as_ref().is_some_and(String::is_empty) {
        return Err(invalid("referrer", "a referrer's id; it is empty"));
    }
    let mut fields = fields.into_iter();
    let (Some((name, value)), None) = (fields.next(), fields.next()) else { return Err(wrong()) };
    Ok((name.parse().map_err(|()| wrong())?, text(value)?, referrer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::subject::AliasKind;

    fn about(path: &str) -> Option<About> {
        Route::of(path).map(|route| route.about)
    }

    #[test]
    fn paths_name_what_they_say() {
        assert_eq!(about("/v1/programs/p/lineage/a%2Fb"), Some(About::Lead("a/b".into())));
        assert_eq!(about("/v1/programs/p/lineage"), Some(About::Somebody));
        assert_eq!(about("/v1/programs/p/status"), Some(About::Status));
        let id = "01234567-89ab-5cde-8f01-23456789abcd";
        let erasure = about(&format!("/v1/programs/p/erasures/{id}"));
        assert_eq!(erasure, Some(About::Erasure(id.parse().unwrap())));
        for report in Report::of_programs() {
            let found = about(&format!("/v1/programs/p/{}", report.word()));
            assert_eq!(found, Some(About::Report(report)));
        }
        for path in [
            "/",
            "/v1/programs/p",
            "/v1/programs/p/leads",
            "/v1/programs/p/lineage/",
            "/v1/programs/p/lineage/a/b",
            "/v1/programs/p/erasures/secret",
            "/v1/programs/P!/funnel",
            "/v1/programs/p/%ff",
            "/v1/programs//funnel",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn parameters_that_cannot_be_are_refused_by_name_and_values_not_repeated() {
        let program: ProgramId = "p".parse().unwrap();
        let status = |query: &str| {
            let mut query = Query::of(Some(query));
            query.status(&program).and_then(|selection| query.finish().map(|()| selection))
        };
        let funnel = |query: &str| {
            let mut query = Query::of(Some(query));
            query.report(&program, Report::Funnel).and_then(|selection| query.finish().map(|()| selection))
        };
        assert_eq!(status("referrer=it%27s&limit=5&test=true").unwrap().referrer.as_deref(), Some("it's"));
        assert_eq!(funnel("from=2026-01-31").unwrap().from.as_deref(), Some("2026-01-31"));
        assert_eq!(funnel("").unwrap().limit, ROWS_DEFAULT);
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=secret",
            "test=secret",
            "after=secret",
            "unknown=secret",
            "limit=",
            "test=",
            "after=",
            "referrer=",
        ] {
            let problem = status(wrong).unwrap_err();
            let name = wrong.split('=').next().unwrap();
            assert!(problem.code == Code::Invalid && problem.detail.contains(name), "{problem:?}");
            assert!(!problem.detail.contains("secret"), "{problem:?}");
        }
        assert!(!status("bob%40mail.example=1").unwrap_err().detail.contains("bob"));
        assert_eq!(status("limit=5&limit=6").unwrap_err().detail, "query parameter `limit` is given twice");
        let report = |query: &str, report: Report| {
            let mut query = Query::of(Some(query));
            query.report(&program, report).and_then(|selection| query.finish().map(|()| selection))
        };
        for of in Report::of_programs() {
            let keys = of.sort_keys();
            let next = "limit=5&after=secret&referrer=ann&from=2026-01-31&to=2026-02-28&as_of=2026-03-31";
            for given in next.split('&') {
                let (name, value) = given.split_once('=').unwrap();
                let is_taken = match name {
                    "referrer" | "from" | "to" => of.has_days(),
                    "as_of" => of.has_past(),
                    _ => true,
                };
                if value != "secret" {
                    assert_eq!(report(given, of).is_ok(), is_taken, "{of:?} {given}");
                }
                let mut wrong = vec![format!("{name}="), format!("{given}&{given}")];
                wrong.extend(match name {
                    "from" | "to" => vec![format!("{name}=2026-02-31"), format!("{name}=2025-02-29")],
                    "as_of" => vec![format!("{name}=2026-02-31"), format!("{name}=2026-02-31T10:00:00Z")],
                    "after" => vec![
                        given.to_owned(),
                        format!(
                            "{name}={}",
                            Cursor::behind(&Default::default(), &[&keys[..], &keys[..1]].concat())
                        ),
                    ],
                    _ => vec![],
                });
                for wrong in wrong {
                    let problem = report(&wrong, of).unwrap_err();
                    assert!(
                        problem.code == Code::Invalid && problem.detail.contains(name),
                        "{of:?} {wrong}: {problem:?}"
                    );
                    assert!(!problem.detail.contains("secret"), "{problem:?}");
                }
            }
            if of.has_days() {
                let problem = report("from=2026-02-01&to=2026-01-31", of).unwrap_err();
                assert_eq!(problem.detail, "from must be no later than to");
            }
        }
        for wrong in
            ["from=yesterday", "to=2026-13-01", "to=2026-01-32", "from=2026-1-1", "to='2026-01-1", "x=1"]
        {
            assert_eq!(funnel(wrong).unwrap_err().code, Code::Invalid, "{wrong}");
        }
        let mut past = Query::of(Some("as_of=2026-03-31"));
        assert_eq!(past.report(&program, Report::Payouts).unwrap().as_of, reports::as_of("2026-03-31"));
    }

    #[test]
    fn a_body_names_one_person() {
        let found = somebody(br#"{"email": "a@b.example", "referrer": "ann"}"#).unwrap();
        assert_eq!(found, (Name::Alias(AliasKind::Email), "a@b.example".into(), Some("ann".into())));
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"lead": 1}"#,
            r#"{"lead": "1", "email": "x"}"#,
            r#"{"name": "x"}"#,
            r#"{"referrer": "x"}"#,
            r#"{"lead": "1", "referrer": ""}"#,
            r#"{"lead": "1", "lead": "2"}"#,
            r#"{"lead": "1", "referrer": "ann", "referrer": "eve"}"#,
        ] {
            assert_eq!(somebody(wrong.as_bytes()).unwrap_err().code, Code::Invalid, "{wrong}");
        }
    }
}
