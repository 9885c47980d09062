//! From accrued to paid as finance does it: `whence rewards`, `whence payouts`, over a `whence up` with the real
//! engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::support::hooks::{Hook, Receiver, Taken, write_secrets};
use crate::support::{Role, ask, run, write_private};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

struct Finance {
    whence: Role,
    data: PathBuf,
    // Dropped last: the role writes into it.
    dir: TempDir,
}

/// What payouts are signed with.
const SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgYmFuaw==";

impl Finance {
    /// Ann has sent three customers, who paid 10.00, 20.00 and 30.00 of which she gets a tenth after two weeks.
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let data = dir.path().join("data");
        let secrets = write_secrets(dir.path(), &format!("p/bank-1={SECRET}\n"));
        let flags = ["up", "--delivery-private", "--webhook-secrets-file", secrets.to_str().unwrap()];
        let whence = Role::start(&data, &flags);
        whence.until_ready();
        whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
        let order =
            json!({ "id": "order", "for": "referrer", "currency": "EUR", "percent": "10", "hold_days": 14 });
        let program =
            json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": [order] });
        whence.call("PUT", "/v1/programs/p", &program);
        let token = whence.click("x");
        for number in 1..=3 {
            let lead = json!({ "type": "lead", "program": "p", "id": format!("lead {number}"),
                "lead": format!("customer {number}"), "touches": [{ "token": token }] });
            whence.call("POST", "/v1/events", &lead);
            let paid = json!({ "type": "qualification", "program": "p", "id": format!("order {number}"),
                "lead": format!("customer {number}"), "name": "purchase",
                "value": { "minor": number * 1000, "currency": "EUR" } });
            whence.call("POST", "/v1/events", &paid);
        }
        whence.until_count("SELECT count() FROM reward_states WHERE state = 'accrued'", 3);
        Self { whence, data, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--data", self.data.to_str().unwrap()]].concat())
    }

    /// What a tool prints; panics unless it ends with this status.
    fn told(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {out}{error}");
        out
    }

    /// The rewards of the three customers.
    fn rewards(&self) -> [String; 3] {
        let sql = "SELECT reward_id FROM rewards WHERE revision = 0 ORDER BY value_minor FORMAT TSV";
        let answer = ask(&self.whence.address("clickhouse"), "POST", "/?database=whence", &[], sql);
        let found: Vec<String> = answer.body.lines().map(str::to_owned).collect();
        found.try_into().unwrap()
    }

    /// What came of each line, in the order of the customers.
    fn mark(&self, status: i32, what: &[&str], reference: &str) -> Vec<(String, String)> {
        let given = ["payouts", "mark", "p", "--reference", reference, "--by", "payroll", "--answer", "json"];
        let mut told: Value = serde_json::from_str(&self.told(status, &[&given[..], what].concat())).unwrap();
        let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
        let rewards = self.rewards();
        let items = told["items"].as_array_mut().unwrap();
        items.sort_by_key(|item| rewards.iter().position(|reward| *reward == text(item, "reward")));
        items.iter().map(|item| (text(item, "outcome"), text(item, "why"))).collect()
    }

    fn issued(&self) -> String {
        let sql = "SELECT sum(issued) FROM reward_balance";
        ask(&self.whence.address("clickhouse"), "POST", "/?database=whence", &[], sql).body.trim().to_owned()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn outcomes(said: &[(String, String)]) -> Vec<&str> {
    said.iter().map(|(outcome, _)| outcome.as_str()).collect()
}

fn lines(path: &str) -> Vec<String> {
    fs::read_to_string(Path::new(path)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_exported_is_marked_as_paid_once_and_only_if_it_stands() {
    let finance = Finance::new();
    let [first, second, third] = finance.rewards();
    let approve = ["rewards", "approve", "p", &first, &second, &third, "--by", "kim", "--reason", "checked"];
    let told = finance.told(0, &approve);
    assert_eq!(told.matches("applied").count(), 3, "{told}");
    assert_eq!(finance.told(0, &approve).matches("nothing changed: it is approved already").count(), 3);

    let file = finance.path("payouts.csv");
    finance.told(0, &["payouts", "export", "p", "--output", &file]);
    let exported = lines(&file);
    assert_eq!(exported.len(), 4, "{exported:?}");
    let start = format!("{first},1,p,ann,referrer,order,");
    let of_first = exported.iter().find(|line| line.starts_with(&start));
    assert!(of_first.is_some_and(|line| line.contains(",1.00,100,EUR,")), "{exported:?}");
    let again = finance.run(&["payouts", "export", "p", "--output", &file]);
    assert!(!again.status.success() && text(&again.stderr).contains("cannot use"), "{again:?}");

    // What happens between the export and the payment.
    let refund = json!({ "type": "disqualification", "program": "p", "id": "refund", "lead": "customer 2",
        "qualification": "order 2", "reason": "refund", "value": { "minor": 1500, "currency": "EUR" } });
    finance.whence.call("POST", "/v1/events", &refund);
    finance.whence.until_count("SELECT count() FROM reward_states WHERE open_minor = 50", 1);
    finance.told(0, &["rewards", "reject", "p", &third, "--by", "kim", "--reason", "a fraud"]);

    let checked = finance.mark(1, &[&file, "--check"], "SEPA-1");
    assert_eq!(outcomes(&checked), ["ready", "refused", "refused"]);
    assert_eq!(finance.issued(), "0", "a check marks nothing");
    let marked = finance.mark(1, &[&file], "SEPA-1");
    assert_eq!(outcomes(&marked), ["issued", "refused", "refused"]);
    assert_eq!(marked[1].1, "50 EUR of it is to be paid now: not what the file says");
    assert_eq!(marked[2].1, "it is rejected, not approved (kim: a fraud)");
    assert_eq!(finance.issued(), "100");

    let again = finance.mark(1, &[&file], "SEPA-1");
    assert_eq!(outcomes(&again), ["unchanged", "refused", "refused"]);
    let alone = finance.mark(0, &["--reward", &first], "SEPA-1");
    assert_eq!(outcomes(&alone), ["unchanged"]);
    let twice = finance.mark(1, &["--reward", &first], "SEPA-2");
    assert_eq!(twice[0].1, "it was paid as \"SEPA-1\"");
    assert_eq!(finance.issued(), "100");

    // What has changed is exported again, in another format, and overlaps with what is paid.
    let rest = finance.path("rest.ndjson");
    finance.told(0, &["payouts", "export", "p", "--format", "ndjson", "--output", &rest]);
    let exported: Value = serde_json::from_str(&lines(&rest)[0]).unwrap();
    assert_eq!((&exported["reward"], &exported["amount_minor"]), (&json!(second), &json!(50)));
    fs::write(&rest, format!("{exported}\n{{\"reward\":\"{first}\"}}\n")).unwrap();
    assert_eq!(outcomes(&finance.mark(0, &[&rest], "SEPA-1")), ["unchanged", "issued"]);
    assert_eq!(finance.told(0, &["payouts", "export", "p"]).lines().count(), 1, "nothing is left to be paid");

    let back =
        finance.told(0, &["rewards", "claw-back", "p", &first, "--by", "kim", "--reason", "a chargeback"]);
    assert!(back.contains("applied"), "{back}");
    let again = finance.told(1, &["rewards", "claw-back", "p", &first, "--by", "kim", "--reason", "again"]);
    assert!(again.contains("nothing changed: nothing of it is open"), "{again}");
    assert_eq!(outcomes(&finance.mark(1, &[&file], "SEPA-1")), ["refused", "refused", "refused"]);
    let lineage = finance.told(0, &["lineage", "p", "customer 1"]);
    for expected in
        ["(by kim: checked)", "under the reference \"SEPA-1\" (by payroll)", "(by kim: a chargeback)"]
    {
        assert!(lineage.contains(expected), "no {expected:?} in {lineage}");
    }
    let status = finance.told(0, &["status", "p", "--referrer", "ann"]);
    for expected in ["order clawed_back (a chargeback)", "order issued 50 EUR", "order rejected (a fraud)"] {
        assert!(status.contains(expected), "no {expected:?} in {status}");
    }
    let before = finance.told(0, &["report", "rewards", "--as-of", "2020-01-01", "--format", "csv"]);
    assert_eq!(before.lines().count(), 1, "{before}");
    let roi = finance.told(0, &["report", "reward-roi", "--program", "p", "--format", "json"]);
    let roi: Value = serde_json::from_str(&roi).unwrap();
    assert_eq!((&roi["data"][0]["value_minor"], &roi["data"][0]["cost_minor"]), (&json!(4500), &json!(50)));
    assert!(finance.whence.stop().success());
}

#[test]
fn an_export_in_json_is_marked_as_it_is() {
    let finance = Finance::new();
    let rewards = finance.rewards();
    let [first, second, third] = &rewards;
    finance.told(0, &["rewards", "approve", "p", first, second, third, "--by", "kim", "--reason", "checked"]);
    let file = finance.path("payouts.json");
    finance.told(0, &["payouts", "export", "p", "--format", "json", "--output", &file]);
    let exported: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let payouts = exported["payouts"].as_array().unwrap();
    assert_eq!(payouts.len(), 3, "{exported}");
    for (reward, minor) in rewards.iter().zip([100, 200, 300]) {
        let payout = payouts.iter().find(|payout| payout["reward"] == *reward).unwrap();
        assert_eq!((&payout["amount_minor"], &payout["currency"]), (&json!(minor), &json!("EUR")));
    }
    assert_eq!(outcomes(&finance.mark(0, &[&file, "--check"], "SEPA-9")), ["ready"; 3]);
    assert_eq!(outcomes(&finance.mark(0, &[&file], "SEPA-9")), ["issued"; 3]);
    assert_eq!(finance.issued(), "600");
    assert_eq!(outcomes(&finance.mark(0, &[&file], "SEPA-9")), ["unchanged"; 3]);
    assert_eq!(finance.issued(), "600");
    let rest = finance.told(0, &["payouts", "export", "p", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&rest).unwrap(), json!({ "payouts": [] }));
    assert!(finance.whence.stop().success());
}

#[test]
fn what_is_to_be_paid_is_sent_signed_and_once_until_it_changes() {
    let finance = Finance::new();
    let [first, second, third] = finance.rewards();
    finance
        .told(0, &["rewards", "approve", "p", &first, &second, &third, "--by", "kim", "--reason", "checked"]);
    let taken: Arc<Taken> = Arc::default();
    let receiver = Receiver::new(&taken);
    let endpoint =
        json!({ "url": format!("http://{}/pay?token=not-told", receiver.address), "secrets": ["bank-1"] });
    finance.whence.call("PUT", "/v1/programs/p/endpoints/bank", &endpoint);
    let secrets = write_secrets(finance.dir.path(), &format!("p/bank-1={SECRET}\n"));
    let command = ["payouts", "export", "p", "--webhook", "bank"];
    let signed = [&command[..], &["--webhook-secrets-file", secrets.to_str().unwrap()]].concat();
    let private = [&signed[..], &["--delivery-private"]].concat();

    let refused = finance.told(1, &signed);
    assert!(refused.contains("address_refused") && refused.ends_with("3 failed\n"), "{refused}");
    let unsigned = finance.run(&[&command[..], &["--delivery-private"]].concat());
    assert!(text(&unsigned.stderr).contains("none of the endpoint's secrets (bank-1)"), "{unsigned:?}");
    let nowhere = finance.run(&["payouts", "export", "p", "--webhook", "nobody"]);
    assert!(text(&nowhere.stderr).contains("has no endpoint nobody"), "{nowhere:?}");
    let lines = finance.run(&[&private[..], &["--format", "csv"]].concat());
    assert!(text(&lines.stderr).contains("webhooks are JSON"), "{lines:?}");
    assert!(taken.all().is_empty());

    taken.refusals.store(1, Ordering::SeqCst);
    let told = finance.told(0, &[&private[..], &["--format", "json"]].concat());
    assert!(told.ends_with("3 delivered\n") && !told.contains("not-told"), "{told}");
    assert_eq!(taken.all().len(), 4, "one was refused at first");
    let sent = taken.first();
    assert!(sent.iter().all(|hook| hook.is_signed_by(SECRET) && hook.body["type"] == "payout.exported"));
    let of = |hooks: &[Hook], reward: &str| {
        hooks.iter().rfind(|hook| hook.body["data"]["reward"] == reward).unwrap().clone()
    };
    let paid = &of(&sent, &second).body["data"];
    assert_eq!(
        (&paid["amount"], &paid["currency"], &paid["referrer"]),
        (&json!("2.00"), &json!("EUR"), &json!("ann"))
    );
    finance.whence.until_count(
        "SELECT count() FROM delivery_states WHERE type = 'payout.exported' AND state = 'delivered'",
        3,
    );
    assert!(finance.told(0, &private).ends_with("3 unchanged\n"));
    assert_eq!(taken.all().len(), 4);

    // Without a log all of it comes again, and is the same to whoever keeps ids.
    ask(&finance.whence.address("clickhouse"), "POST", "/?database=whence", &[], "TRUNCATE TABLE deliveries");
    assert!(finance.told(0, &private).ends_with("3 delivered\n"));
    let again = taken.all().split_off(4);
    assert!(again.len() == 3 && taken.first().len() == 3);
    assert_eq!(of(&again, &third).raw, of(&sent, &third).raw);

    let refund = json!({ "type": "disqualification", "program": "p", "id": "refund", "lead": "customer 2",
        "qualification": "order 2", "reason": "refund", "value": { "minor": 1500, "currency": "EUR" } });
    finance.whence.call("POST", "/v1/events", &refund);
    finance.whence.until_count("SELECT count() FROM reward_states WHERE open_minor = 50", 1);
    taken.status.store(410, Ordering::SeqCst);
    let gone = finance.told(1, &private);
    assert!(gone.contains("gone 410") && gone.ends_with("1 failed\n2 unchanged\n"), "{gone}");
    taken.status.store(0, Ordering::SeqCst);
    assert!(finance.told(0, &private).ends_with("1 delivered\n2 unchanged\n"));
    let (before, after) = (of(&sent, &second), of(&taken.all(), &second));
    assert!(after.id() != before.id() && after.body["data"]["amount_minor"] == 50);
    assert!(after.body["data"]["revision"].as_u64() > before.body["data"]["revision"].as_u64());
    assert!(finance.whence.stop().success());
}

#[test]
fn who_may_not_decide_and_what_is_no_reward_is_told() {
    let finance = Finance::new();
    let [first, ..] = finance.rewards();
    let made =
        finance.whence.call("POST", "/v1/keys", &json!({ "scopes": ["events:write"], "program": "p" }));
    let key = made["key"].as_str().unwrap();
    let file = finance.path("key");
    write_private(Path::new(&file), key);
    let stranger =
        ["rewards", "approve", "p", &first, "--by", "eve", "--reason", "me", "--api-key-file", &file];
    let told = finance.run(&stranger);
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stdout).contains("refused: "), "{told:?}");
    let unknown = "3f2b8c1e-0a51-5c7e-9a7f-2f8f0f6f1d11";
    let told = finance.told(1, &["rewards", "reject", "p", unknown, "--by", "kim", "--reason", "x"]);
    assert!(told.contains("the program has no such reward"), "{told}");
    let wrong = finance.run(&["rewards", "approve", "p", "order", "--by", "kim", "--reason", "x"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let bare = finance.mark(1, &["--reward", &first], "SEPA-1");
    assert_eq!(bare[0].1, "it is accrued, not approved (rules: earned)");
    let no_past = finance.run(&["report", "funnel", "--as-of", "2026-01-01"]);
    assert!(text(&no_past.stderr).contains("the report funnel has no --as-of"), "{no_past:?}");
    assert!(finance.whence.stop().success());
}
