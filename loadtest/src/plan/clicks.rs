//! Who clicks on what, and how it looks: most are people, the rest is what real traffic has around them.

use super::{
    Random,
    agents::{Looks, looks},
    random,
    visitors::{VisitorId, Visitors},
};
use crate::{
    ledger::Class,
    world::{LinkState, World},
};
use rand::RngExt as _;
use std::{fmt::Write as _, sync::Arc};

/// Shares of clicks, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClickMix {
    /// By bots.
    pub bots: f64,
    /// By link previews.
    pub previews: f64,
    /// By browsers fetching ahead.
    pub prefetches: f64,
    /// HEAD requests.
    pub heads: f64,
    /// On codes that lead nowhere.
    pub inactive: f64,
    /// Of people's clicks, those of somebody who clicked before.
    pub returning: f64,
    /// On a connection of their own that is closed after it.
    pub fresh_connections: f64,
    /// That name a channel with `?c=`.
    pub channel_named: f64,
    /// With other parameters, some of them reserved.
    pub parameters: f64,
}

impl Default for ClickMix {
    fn default() -> ClickMix {
        ClickMix {
            bots: 8.0,
            previews: 6.0,
            prefetches: 2.0,
            heads: 2.0,
            inactive: 1.0,
            returning: 25.0,
            fresh_connections: 10.0,
            channel_named: 15.0,
            parameters: 15.0,
        }
    }
}

/// A click to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedClick {
    /// Index of the link.
    pub link: u32,
    /// Index of the channel that it must count for.
    pub channel: u16,
    /// What it is.
    pub class: Class,
    /// How it looks.
    pub looks: Looks,
    /// The request's path and query.
    pub path: String,
    /// Who clicks, if it is a person.
    pub visitor: Option<VisitorId>,
    /// Whether it comes on a connection of its own.
    pub is_fresh: bool,
}

/// Clicks, one after the other.
#[derive(Debug)]
pub struct ClickPlanner {
    world: Arc<World>,
    mix: ClickMix,
    active: Vec<u32>,
    inactive: Vec<u32>,
    random: Random,
}

/// Parameters that browsers and advertisers add, and some that somebody would like to add.
const PARAMETERS: [&str; 6] = [
    "utm_campaign=spring",
    "fbclid=IwAR0abc",
    "gclid=EAIaIQ-x_y&x=%20",
    "wclid=AQcBi8_laABwAIAAAAAAAAAAkiVtfGeEl9SCJEQXozlvjS4bta6UQ1GCfts1lg",
    "%77clid=x&url=//evil.example",
    "next=%0d%0aLocation:%20https://evil.example/",
];

impl ClickPlanner {
    /// Clicks on the links of `world`.
    #[must_use]
    pub fn new(world: Arc<World>, mix: ClickMix, seed: u64, part: u64) -> ClickPlanner {
        let active = world.links_in(LinkState::Active).collect();
        let inactive =
            world.links_in(LinkState::Disabled).chain(world.links_in(LinkState::Missing)).collect();
        ClickPlanner { world, mix, active, inactive, random: random(seed, part) }
    }

    /// The next click.
    pub fn next(&mut self, visitors: &mut Visitors) -> PlannedClick {
        let class = self.class();
        let link = self.link(class);
        let (path, channel) = self.path(link);
        // Of a page that was fetched ahead and then opened, the edge hears only of the fetching.
        let is_person = matches!(class, Class::Human | Class::Prefetch);
        let visitor = is_person.then(|| self.visitor(visitors));
        PlannedClick {
            link,
            channel,
            class,
            looks: looks(class, &mut self.random),
            path,
            visitor,
            is_fresh: self.happens(self.mix.fresh_connections),
        }
    }

    fn happens(&mut self, percent: f64) -> bool {
        self.random.random::<f64>() * 100.0 < percent
    }

    fn class(&mut self) -> Class {
        let mut roll = self.random.random::<f64>() * 100.0;
        let ClickMix { bots, previews, prefetches, heads, inactive, .. } = self.mix;
        for (share, class) in [
            (bots, Class::Bot),
            (previews, Class::Preview),
            (prefetches, Class::Prefetch),
            (heads, Class::Head),
            (inactive, Class::Inactive),
        ] {
            if roll < share {
                return class;
            }
            roll -= share;
        }
        Class::Human
    }

    /// Some links are far more popular than others: the square of an even roll.
    fn link(&mut self, class: Class) -> u32 {
        let links = if class == Class::Inactive { &self.inactive } else { &self.active };
        let roll = self.random.random::<f64>();
        let at = (roll * roll * links.len() as f64) as usize;
        links[at.min(links.len() - 1)]
    }

    fn visitor(&mut self, visitors: &mut Visitors) -> VisitorId {
        match visitors.known() {
            known if known > 0 && self.happens(self.mix.returning) => {
                visitors.in_place(self.random.random_range(0..known))
            }
            _ => visitors.arrive(),
        }
    }

    /// Path and query, and the channel that the click must count for.
    fn path(&mut self, index: u32) -> (String, u16) {
        let world = Arc::clone(&self.world);
        let link = &world.links[index as usize];
        let channels = &world.program_of(link).channels;
        let mut path = format!("/{}", link.code);
        let mut channel = link.channel;
        let mut separator = '?';
        if self.happens(self.mix.channel_named) {
            // One more than there are: a channel that the program does not have.
            let named = self.random.random_range(0..=channels.len());
            let name = channels.get(named).map_or("elsewhere", String::as_str);
            write!(path, "?c={name}").expect("a String takes every write");
            separator = '&';
            if link.channel_override && named < channels.len() {
                channel = u16::try_from(named).expect("channels are few");
            }
        }
        if self.happens(self.mix.parameters) {
            let parameters = PARAMETERS[self.random.random_range(0..PARAMETERS.len())];
            write!(path, "{separator}{parameters}").expect("a String takes every write");
        }
        (path, channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::WorldSize;
    use std::collections::BTreeMap;

    fn planner(seed: u64) -> ClickPlanner {
        let size = WorldSize { programs: 2, referrers: 5, links: 40, channels: 4 };
        let world = Arc::new(World::generate(1, "t", "go.example", size));
        ClickPlanner::new(world, ClickMix::default(), seed, 0)
    }

    fn clicks(seed: u64, count: usize) -> Vec<PlannedClick> {
        let (mut planner, mut visitors) = (planner(seed), Visitors::with_room_for(64));
        (0..count).map(|_| planner.next(&mut visitors)).collect()
    }

    #[test]
    fn one_seed_is_one_sequence() {
        assert_eq!(clicks(7, 100), clicks(7, 100));
        assert_ne!(clicks(7, 100), clicks(8, 100));
    }

    #[test]
    fn classes_come_in_their_shares_and_look_like_it() {
        let mut counts: BTreeMap<Class, u32> = BTreeMap::new();
        for click in clicks(1, 20_000) {
            *counts.entry(click.class).or_default() += 1;
            assert_eq!(click.looks.is_head, click.class == Class::Head);
            assert_eq!(click.looks.header.is_some(), click.class == Class::Prefetch);
            let is_person = matches!(click.class, Class::Human | Class::Prefetch);
            assert_eq!(click.visitor.is_some(), is_person);
        }
        let share = |class| f64::from(counts[&class]) / 200.0;
        assert!(
            (share(Class::Bot) - 8.0).abs() < 1.0 && (share(Class::Human) - 81.0).abs() < 2.0,
            "{counts:?}"
        );
        assert_eq!(counts.len(), 6);
    }

    #[test]
    fn a_named_channel_counts_where_the_link_allows_it_and_the_program_has_it() {
        let planner = planner(1);
        let world = &planner.world;
        let mut seen = [0; 3];
        for click in clicks(1, 20_000) {
            let link = &world.links[click.link as usize];
            let Some((_, named)) = click.path.split_once("?c=") else {
                assert_eq!(click.channel, link.channel);
                continue;
            };
            let named = named.split('&').next().unwrap();
            let known = world.program_of(link).channels.iter().position(|channel| channel == named);
            let (case, expected) = match (link.channel_override, known) {
                (true, Some(known)) => (0, known),
                (true, None) => (1, usize::from(link.channel)),
                (false, _) => (2, usize::from(link.channel)),
            };
            seen[case] += 1;
            assert_eq!(usize::from(click.channel), expected, "{}", click.path);
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}
