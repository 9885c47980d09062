//! Order, retries, ends, restarts, bounds.

use crate::{
    receiver::{Answer, Receiver, status},
    world::{OTHER, SECRET, World, settings},
};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;
use whence_schemas::outgoing::Reach;

fn delivered(endpoint: &str) -> String {
    format!("SELECT count() FROM delivery_states WHERE state = 'delivered' AND endpoint = '{endpoint}'")
}

/// The types that each lead was told, in order.
fn by_lead(taken: Vec<(String, String)>) -> HashMap<String, Vec<String>> {
    let mut leads: HashMap<String, Vec<String>> = HashMap::new();
    for (kind, lead) in taken {
        leads.entry(lead).or_default().push(kind);
    }
    leads
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_signed_in_the_order_of_their_lead_through_failures_and_slowness() {
    let world = World::new().await;
    world.leads(1, 0, 40).await;
    world.qualifications(1, 0, 40, 40).await;
    let receiver = Receiver::start(|received, before| match (received.path.as_str(), before) {
        ("/slow", _) => Answer(204, None, Duration::from_millis(30)),
        ("/flaky", 0) => status(500),
        ("/flaky", 1) => Answer(429, Some(0), Duration::ZERO),
        ("/flaky", 2) if received.gist().1.ends_with('3') => status(302),
        _ => status(200),
    })
    .await;
    for path in ["slow", "flaky"] {
        world.known.put(path, receiver.url(&format!("/{path}")), |_| {});
    }
    let refused = |endpoint: &mut whence_schemas::event::WebhookEndpoint| {
        endpoint.types = vec!["lead.qualified".into()]
    };
    world.known.put("some", receiver.url("/some"), refused);
    let work = world.work(settings(), 1, 80);
    for (endpoint, count) in [("slow", 80), ("flaky", 80), ("some", 40)] {
        world.until(&delivered(endpoint), count).await;
    }
    for path in ["/slow", "/flaky"] {
        let leads = by_lead(receiver.taken(path));
        assert_eq!(leads.len(), 40);
        assert!(
            leads.values().all(|kinds| kinds == &["lead.credited", "lead.qualified"]),
            "{path}: {leads:?}"
        );
    }
    assert!(receiver.taken("/some").iter().all(|(kind, _)| kind == "lead.qualified"));
    assert_eq!(receiver.at("/elsewhere").len(), 0, "redirects are not followed");
    let one = &receiver.at("/slow")[0];
    assert!(one.is_signed_by(SECRET) && !one.is_signed_by(OTHER));
    assert_eq!((one.header("content-type"), one.header("user-agent")), ("application/json", "whence"));
    let flaky = receiver.at("/flaky");
    assert!(flaky.iter().all(|received| received.is_signed_by(SECRET)), "each try has its own signature");
    let tries =
        "SELECT count() FROM delivery_states WHERE endpoint = 'flaky' AND attempts = 3 AND status = 200";
    world.until(tries, 72).await;
    let redirected = "SELECT count() FROM deliveries WHERE error = 'redirect' AND status = 302";
    assert_eq!(world.count(redirected).await, 8);
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_dead_and_holds_up_neither_its_lead_nor_other_endpoints() {
    let world = World::new().await;
    world.leads(1, 0, 3).await;
    world.qualifications(1, 0, 3, 3).await;
    let receiver = Receiver::start(|received, _| match received.path.as_str() {
        "/dead" => status(500),
        "/gone" => status(410),
        _ => status(200),
    })
    .await;
    // One lead's first message is never taken; the second one must come all the same, after it.
    let picky = Receiver::start(|received, _| {
        let is_bad = received.gist() == ("lead.credited".into(), "lead 1".into());
        status(if is_bad { 503 } else { 200 })
    })
    .await;
    world.known.put("dead", receiver.url("/dead"), |_| {});
    world.known.put("gone", receiver.url("/gone"), |_| {});
    world.known.put("fine", receiver.url("/fine"), |_| {});
    world.known.put("picky", picky.url("/picky"), |_| {});
    world.known.put("nobody", "http://127.0.0.1:1/".into(), |_| {});
    world.known.put("unsigned", receiver.url("/unsigned"), |endpoint| endpoint.secrets = vec!["none".into()]);
    let mut quick = settings();
    // Longer than a busy machine may stand still between two attempts.
    quick.delivery_retry_for = Duration::from_secs(3);
    let work = world.work(quick, 1, 6);
    world.until(&delivered("fine"), 6).await;
    world.until(&delivered("picky"), 5).await;
    for (endpoint, error) in
        [("gone", "gone"), ("dead", "status"), ("nobody", "connect"), ("unsigned", "no_secret")]
    {
        let dead = format!(
            "SELECT count() FROM dead_deliveries WHERE endpoint = '{endpoint}' AND error = '{error}'"
        );
        world.until(&dead, 6).await;
    }
    world.until("SELECT count() FROM dead_deliveries WHERE endpoint = 'picky' AND status = 503", 1).await;
    let order = picky.at("/picky");
    let last_bad = order.iter().rposition(|one| one.status == 503).unwrap();
    let next = order.iter().position(|one| one.gist() == ("lead.qualified".into(), "lead 1".into())).unwrap();
    assert!(next > last_bad, "nothing of a dead message after its end");
    assert_eq!(receiver.at("/gone").len(), 6, "410 is final");
    assert_eq!(receiver.at("/unsigned").len(), 0);
    let early = "SELECT count() FROM delivery_states WHERE state = 'dead' AND endpoint IN ('dead', 'nobody') AND (attempts < 2 OR last_at < first_at + INTERVAL 450 MILLISECOND)";
    assert_eq!(world.count(early).await, 0, "each was tried for as long as it must be");
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_log_ends_in_a_new_incarnation_too() {
    let world = World::new().await;
    world.leads(9, 0, 30).await;
    let receiver = Receiver::start(|received, before| {
        // Of every third lead nothing is taken at first.
        let number: u64 = received.gist().1.strip_prefix("lead ").unwrap().parse().unwrap();
        status(if number.is_multiple_of(3) && before < 4 { 500 } else { 200 })
    })
    .await;
    world.known.put("shop", receiver.url("/shop"), |_| {});
    let mut slow = settings();
    slow.delivery_retry_first = Duration::from_secs(2);
    slow.delivery_retry_max = Duration::from_secs(2);
    let work = world.work(slow, 9, 30);
    world.until(&delivered("shop"), 20).await;
    world.until("SELECT count() FROM delivery_states WHERE state = 'retry'", 10).await;
    work.stop().await;
    let tries = receiver.at("/shop").len() as u64;
    assert_eq!(world.count("SELECT count() FROM deliveries").await, tries, "what was sent is written down");

    // The journal was reopened meanwhile, with an id that sorts before the first.
    world.leads(2, 30, 5).await;
    let work = world.work(settings(), 2, 33);
    world.until(&delivered("shop"), 33).await;
    assert_eq!(
        world.count("SELECT toUInt64(max(attempts)) FROM delivery_states").await,
        5,
        "tries are counted on"
    );
    let twice = "SELECT count() FROM (SELECT message_id FROM deliveries WHERE outcome = 'delivered' GROUP BY message_id HAVING count() > 1)";
    assert_eq!(world.count(twice).await, 0);
    assert_eq!(receiver.taken("/shop").len(), 33);
    // Rows of a block in flight are there, but not for good.
    assert!(!receiver.taken("/shop").iter().any(|(_, lead)| lead == "lead 33"));
    work.stored(2, 35);
    world.until(&delivered("shop"), 35).await;
    work.kill().await;

    let work = world.work(settings(), 2, 35);
    world.leads(2, 35, 1).await;
    work.stored(2, 36);
    world.until(&delivered("shop"), 36).await;
    assert_eq!(receiver.taken("/shop").len(), 36, "nothing that is in the log is sent again");
    work.stop().await;
    let checkpoint = format!(
        "SELECT count() FROM delivery_checkpoints FINAL WHERE endpoint = 'shop' AND incarnation = toUUID('{}') AND next_offset = 36",
        Uuid::from_u128(2)
    );
    assert_eq!(world.count(&checkpoint).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_begin_when_they_say_rotate_their_secrets_and_wait_while_disabled() {
    let world = World::new().await;
    world.leads(1, 0, 2).await;
    let receiver = Receiver::start(|_, _| status(200)).await;
    let now = world.count("SELECT toUInt64(toUnixTimestamp64Milli(now64(3)))").await as i64;
    world.known.put("old", receiver.url("/old"), |_| {});
    world.known.put("new", receiver.url("/new"), |endpoint| endpoint.since_ms = now + 1);
    let work = world.work(settings(), 1, 2);
    world.until(&delivered("old"), 2).await;
    world
        .until(
            "SELECT toUInt64(toUnixTimestamp64Milli(now64(3)) > {n})"
                .replace("{n}", &(now + 1).to_string())
                .as_str(),
            1,
        )
        .await;

    // An erased person's name is sent no more.
    world.leads(1, 2, 1).await;
    world.run("ALTER TABLE leads UPDATE lead = '' WHERE lead = 'lead 2' SETTINGS mutations_sync = 2").await;
    let both = |endpoint: &mut whence_schemas::event::WebhookEndpoint| {
        endpoint.secrets = vec!["other".into(), "main".into()]
    };
    world.known.put("old", receiver.url("/old"), both);
    tokio::time::timeout(Duration::from_secs(30), async {
        let mut offset = 3;
        work.stored(1, offset);
        loop {
            world.leads(1, offset, 1).await;
            offset += 1;
            work.stored(1, offset);
            world.until(&delivered("old"), offset).await;
            if receiver.at("/old").last().unwrap().is_signed_by(OTHER) {
                break;
            }
        }
    })
    .await
    .unwrap();
    let last = receiver.at("/old").pop().unwrap();
    assert!(last.is_signed_by(SECRET) && last.is_signed_by(OTHER), "while one is replaced, both sign");
    let blank: Vec<_> =
        receiver.at("/old").into_iter().filter(|one| one.body["data"]["lead"].is_null()).collect();
    assert_eq!(blank.len(), 1);

    world.until(&delivered("new"), receiver.at("/old").len() as u64 - 2).await;
    assert!(
        !receiver.taken("/new").iter().any(|(_, lead)| lead == "lead 1"),
        "it came before the endpoint did"
    );
    world.known.put("new", receiver.url("/new"), |endpoint| {
        (endpoint.since_ms, endpoint.disabled) = (now + 1, true)
    });
    let sent = receiver.at("/old").len() as u64;
    // Who has sent to an endpoint that came later has seen that this one is disabled: what is announced now waits.
    world.known.put("later", receiver.url("/later"), |_| {});
    world.until(&delivered("later"), sent).await;
    world.leads(1, sent, 3).await;
    work.stored(1, sent + 3);
    world.until(&delivered("old"), sent + 3).await;
    assert_eq!(receiver.at("/new").len() as u64, sent - 2);
    world.known.put("new", receiver.url("/new"), |endpoint| endpoint.since_ms = now + 1);
    world.until(&delivered("new"), sent + 1).await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_this_machine_are_called_only_where_a_setting_allows_it() {
    let world = World::new().await;
    world.leads(1, 0, 1).await;
    let receiver = Receiver::start(|_, _| status(200)).await;
    world.known.put("plain", receiver.url("/plain"), |_| {});
    world.known.put("address", format!("https://{}/", receiver.address), |_| {});
    world.known.put("name", format!("https://localhost:{}/", receiver.address.port()), |_| {});
    let work = world.work_within(Reach::Public, settings(), 1, 1);
    for endpoint in ["plain", "address", "name"] {
        let refused = format!(
            "SELECT toUInt64(countIf(error = 'address_refused' AND status = 0) > 1) FROM deliveries WHERE endpoint = '{endpoint}'"
        );
        world.until(&refused, 1).await;
    }
    assert_eq!(world.count("SELECT uniqExact(error) FROM deliveries").await, 1);
    assert_eq!(receiver.at("/plain").len(), 0);
    work.stop().await;
}
