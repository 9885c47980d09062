use super::*;
use crate::{
    ledger::{Id, Named},
    world::{Model, WorldSize},
};
use std::collections::BTreeSet;

const NOW_MS: i64 = 1_800_000_000_000;

fn teller(seed: u64) -> StoryTeller {
    let size = WorldSize { programs: 2, referrers: 5, links: 40, channels: 4 };
    let world = Arc::new(World::generate(1, "t", "go.example", size));
    StoryTeller::new(world, StoryMix { leads: 100.0, ..StoryMix::default() }, seed, 3)
}

fn held(link: u32, ago_ms: i64) -> Held {
    let click = Id(u128::try_from(NOW_MS - ago_ms).unwrap() << 80);
    Held { text: "token".into(), click, link, channel: 0 }
}

fn stories(seed: u64, program: u16, count: usize) -> Vec<Step> {
    let mut teller = teller(seed);
    let tokens = [held(0, 50), held(1, 40), held(2, 30), held(3, 1_900)];
    (0..count).filter_map(|_| teller.tell(program, NOW_MS, &tokens)).collect()
}

fn all_steps(story: &Step) -> Vec<&Step> {
    std::iter::once(story).chain(story.then.iter().flat_map(all_steps)).collect()
}

#[test]
fn one_seed_tells_the_same_stories() {
    assert_eq!(stories(1, 0, 50), stories(1, 0, 50));
    assert_ne!(stories(1, 0, 50), stories(2, 0, 50));
}

#[test]
fn idempotency_keys_are_events_own() {
    let stories = stories(1, 0, 500);
    let keys: Vec<_> = stories.iter().flat_map(all_steps).map(|step| &step.event.key).collect();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
}

#[test]
fn every_plot_and_every_flaw_comes_up() {
    let stories = stories(1, 0, 3_000);
    let is_lead = |step: &&Step| matches!(step.event.body, DraftBody::Lead(_));
    let early = stories.iter().filter(|story| !is_lead(story) && !story.then.is_empty()).count();
    let orphans = stories.iter().filter(|story| !is_lead(story) && story.then.is_empty()).count();
    let again =
        stories.iter().filter(|story| is_lead(story) && story.then.iter().any(|s| is_lead(&s))).count();
    assert!(early > 0 && orphans > 0 && again > 0, "{early} {orphans} {again}");
    for flaw in Flaw::ALL {
        assert!(stories.iter().any(|story| story.event.flaw == Some(flaw)), "{flaw:?}");
    }
    let sends: BTreeSet<_> = stories.iter().map(|story| story.sends).collect();
    assert_eq!(sends, BTreeSet::from([1, 2, 3]));
}

#[test]
fn tokens_are_the_programs_own_and_within_its_window_unless_they_are_to_be_refused() {
    for program in [0, 1] {
        let teller = teller(1);
        let rule = &teller.world.programs[usize::from(program)];
        assert_eq!(rule.model, [Model::LastTouch, Model::FirstTouch][usize::from(program)]);
        let mut tokens = 0;
        for step in stories(1, program, 500).iter().flat_map(all_steps) {
            let DraftBody::Lead(touches) = &step.event.body else { continue };
            for touch in touches {
                let DraftTouch::Token(held) = touch else { continue };
                tokens += 1;
                assert_eq!(teller.world.links[held.link as usize].program, program);
                assert!(step.event.occurred_at_ms - held.click.at_ms() <= rule.window_ms);
                assert!(step.event.occurred_at_ms >= held.click.at_ms());
            }
        }
        assert!(tokens > 100);
    }
}

#[test]
fn every_refund_says_whose_it_is_or_of_which_payment_and_some_undoing_says_neither() {
    let stories = stories(1, 0, 5_000);
    let (mut refunds, mut nameless) = (0, 0);
    for event in stories.iter().flat_map(all_steps).map(|step| &step.event) {
        let is_nobodys = event.subject == Subject::default();
        match &event.body {
            DraftBody::Other(Body::Disqualification { named, value }) => {
                refunds += 1;
                assert!(!is_nobodys || named.payment.is_some(), "{event:?}");
                assert!(value.is_none() || *named != Named::default(), "{event:?}");
            }
            DraftBody::Other(Body::Reinstatement { .. }) => nameless += u32::from(is_nobodys),
            _ => {}
        }
    }
    assert!(refunds > 300 && nameless > 50, "{refunds} {nameless}");
}
