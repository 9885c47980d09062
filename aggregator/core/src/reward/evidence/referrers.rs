//! Whether a referrer was where the person was: joined or shared from the address prefix of the click or the lead, on
//! its day, as far as callers say.

use super::{About, Evidence};
use crate::{
    position::Horizon,
    store::{Rows, SeenReferrer, Store, StoreError},
};
use std::collections::BTreeSet;
use whence_schemas::event::RiskPolicy;

impl Evidence {
    /// Takes where referrers of the block joined and shared from.
    pub(super) fn meet(&mut self, made: &[Rows]) {
        for rows in made {
            match rows {
                Rows::Participants(rows) => rows.iter().filter(|row| row.live).for_each(|row| {
                    self.met(row.offset, &row.program.0, &row.referrer, row.prefix);
                }),
                Rows::Shares(rows) => rows.iter().filter(|row| row.live).for_each(|row| {
                    self.met(row.offset, &row.program.0, &row.referrer, row.prefix);
                }),
                _ => {}
            }
        }
    }

    fn met(&mut self, offset: u64, program: &str, referrer: &str, prefix: u64) {
        if prefix == 0 {
            return;
        }
        let seen = SeenReferrer { program: program.to_owned(), referrer: referrer.to_owned(), prefix };
        let first = self.met.entry(seen).or_insert(offset);
        *first = offset.min(*first);
    }

    /// Which referrers were seen before the block where their leads' clicks and leads came from, as far as that is
    /// asked for.
    pub async fn load_referrers<'a, S: Store>(
        &mut self,
        before: &Horizon,
        about: impl Iterator<Item = (&'a About, RiskPolicy)>,
        store: &S,
    ) -> Result<(), StoreError> {
        let mut asked = BTreeSet::new();
        for (about, _) in about.filter(|(_, policy)| policy.self_referral_prefix > 0) {
            asked.extend(self.places_of(about).map(|(_, seen)| seen));
        }
        if !asked.is_empty() {
            let asked: Vec<_> = asked.into_iter().collect();
            self.seen = store.seen_referrers(before, &asked).await?;
        }
        Ok(())
    }

    /// By what of the person the referrer was near, known when the record had been taken: `click` or `lead`.
    pub(super) fn near(&self, about: &About) -> Option<&'static str> {
        let is_met = |seen: &SeenReferrer| self.met.get(seen).is_some_and(|at| *at <= about.offset);
        let mut places = self.places_of(about);
        places.find(|(_, seen)| self.seen.contains(seen) || is_met(seen)).map(|(what, _)| what)
    }

    /// The referrer where the person's click and leads came from.
    fn places_of(&self, about: &About) -> impl Iterator<Item = (&'static str, SeenReferrer)> {
        let click = self.found(&about.lead(), about.offset).map(|click| ("click", click.prefix));
        let leads = self.leads(about).1.into_iter().map(|lead| ("lead", lead.prefix));
        let places: BTreeSet<_> = click.into_iter().chain(leads).filter(|(_, prefix)| *prefix != 0).collect();
        let (program, referrer) = (about.program.clone(), about.referrer.clone());
        places.into_iter().map(move |(what, prefix)| {
            (what, SeenReferrer { program: program.clone(), referrer: referrer.clone(), prefix })
        })
    }
}
