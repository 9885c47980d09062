//! Pairs stored clicks with requests whose click id nobody was told: each request lies within a span of
//! time, each stored click at a point.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, VecDeque},
};

/// A request that may have become a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub from_ms: i64,
    pub to_ms: i64,
    /// It was answered: its click must be there.
    pub is_certain: bool,
}

/// What could not be paired.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unpaired {
    /// Indices of points that no request explains.
    pub points: Vec<usize>,
    /// Indices of spans without their click.
    pub spans: Vec<usize>,
}

/// Pairs as many points as can be: earliest end first, which is optimal for points and intervals. A
/// certain span that went away empty then takes a point that an uncertain one has, in one or more steps.
pub(super) fn pair(points_ms: &[i64], spans: &[Span]) -> Unpaired {
    let mut order: Vec<usize> = (0..points_ms.len()).collect();
    order.sort_by_key(|point| points_ms[*point]);
    let at_ms: Vec<i64> = order.iter().map(|point| points_ms[*point]).collect();
    let mut coming: Vec<usize> = (0..spans.len()).collect();
    coming.sort_by_key(|span| Reverse(spans[*span].from_ms));

    let mut open = BinaryHeap::new();
    let mut pairs =
        Pairs { at_ms: &at_ms, spans, holder: vec![None; at_ms.len()], taken: vec![None; spans.len()] };
    for (place, at_ms) in at_ms.iter().enumerate() {
        while let Some(span) = coming.pop_if(|span| spans[*span].from_ms <= *at_ms) {
            open.push(Reverse((spans[span].to_ms, !spans[span].is_certain, span)));
        }
        while open.peek().is_some_and(|Reverse((to_ms, ..))| to_ms < at_ms) {
            open.pop();
        }
        if let Some(Reverse((.., span))) = open.pop() {
            pairs.give(place, span);
        }
    }
    for (span, Span { is_certain, .. }) in spans.iter().enumerate() {
        if *is_certain && pairs.taken[span].is_none() {
            pairs.make_room_for(span);
        }
    }
    let free = |holder: &Vec<Option<usize>>| {
        (0..holder.len()).filter(|at| holder[*at].is_none()).collect::<Vec<_>>()
    };
    let points = free(&pairs.holder).into_iter().map(|place| order[place]).collect();
    Unpaired { points, spans: free(&pairs.taken) }
}

/// Which referrer has which person, and when.
struct Pairs<'a> {
    at_ms: &'a [i64],
    spans: &'a [Span],
    /// The span that has the point.
    holder: Vec<Option<usize>>,
    /// The point that the span has.
    taken: Vec<Option<usize>>,
}

impl Pairs<'_> {
    fn give(&mut self, place: usize, span: usize) {
        self.holder[place] = Some(span);
        self.taken[span] = Some(place);
    }

    /// Searches, breadth first, for a chain of spans that each can have the next one's point, from `span`
    /// to an uncertain one, which goes away empty (an augmenting path, every point looked at once).
    fn make_room_for(&mut self, span: usize) {
        let mut unseen: BTreeSet<usize> = (0..self.at_ms.len()).collect();
        let mut asked_by: HashMap<usize, usize> = HashMap::new();
        let mut asking = VecDeque::from([span]);
        while let Some(asker) = asking.pop_front() {
            let Span { from_ms, to_ms, .. } = self.spans[asker];
            let first = self.at_ms.partition_point(|at_ms| *at_ms < from_ms);
            let end = self.at_ms.partition_point(|at_ms| *at_ms <= to_ms);
            let places: Vec<usize> = unseen.range(first..end).copied().collect();
            for place in places {
                unseen.remove(&place);
                asked_by.insert(place, asker);
                match self.holder[place] {
                    Some(holder) if self.spans[holder].is_certain => asking.push_back(holder),
                    holder => {
                        if let Some(uncertain) = holder {
                            self.taken[uncertain] = None;
                        }
                        return self.hand_on(place, &asked_by);
                    }
                }
            }
        }
    }

    /// Everybody on the way gets the point that was asked for.
    fn hand_on(&mut self, mut place: usize, asked_by: &HashMap<usize, usize>) {
        loop {
            let asker = asked_by[&place];
            let before = self.taken[asker];
            self.give(place, asker);
            match before {
                Some(before) => place = before,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn certain(from_ms: i64, to_ms: i64) -> Span {
        Span { from_ms, to_ms, is_certain: true }
    }

    fn uncertain(from_ms: i64, to_ms: i64) -> Span {
        Span { is_certain: false, ..certain(from_ms, to_ms) }
    }

    #[test]
    fn points_outside_every_span_are_left_over() {
        assert_eq!(pair(&[5, 20], &[certain(0, 10)]), Unpaired { points: vec![1], spans: vec![] });
        assert_eq!(pair(&[5, 6], &[certain(0, 10)]), Unpaired { points: vec![1], spans: vec![] });
        assert_eq!(pair(&[], &[uncertain(0, 10)]), Unpaired { points: vec![], spans: vec![0] });
    }

    #[test]
    fn a_short_span_is_served_before_a_long_one() {
        assert_eq!(pair(&[2, 8], &[certain(0, 10), uncertain(0, 3)]), Unpaired::default());
    }

    #[test]
    fn what_was_answered_goes_before_what_was_not() {
        let spans = [uncertain(0, 5), certain(0, 10)];
        assert_eq!(pair(&[3], &spans), Unpaired { points: vec![], spans: vec![0] });
    }

    #[test]
    fn room_is_made_over_any_number_of_steps() {
        // The uncertain span ends first and takes the first point; each certain one then takes its
        // neighbour's, and the last goes away empty.
        let mut spans = vec![uncertain(0, 5)];
        spans.extend((0..50).map(|n| certain(n * 10, n * 10 + 15)));
        let points: Vec<i64> = (0..50).map(|n| n * 10 + 5).collect();
        assert_eq!(pair(&points, &spans), Unpaired { points: vec![], spans: vec![0] });
    }

    proptest! {
        #[test]
        fn as_much_is_paired_as_can_be(
            points in prop::collection::vec(0i64..30, 0..7),
            spans in prop::collection::vec((0i64..30, 0i64..10, any::<bool>()), 0..7),
        ) {
            let spans: Vec<_> = spans.iter().map(|(from, len, is_certain)| Span { from_ms: *from, to_ms: from + len, is_certain: *is_certain }).collect();
            let unpaired = pair(&points, &spans);
            let certain = |left: &[usize]| left.iter().filter(|span| spans[**span].is_certain).count();
            let best = best(&points, &spans, 0, &mut vec![false; spans.len()]);
            prop_assert_eq!(points.len() - unpaired.points.len(), best.0, "points");
            prop_assert_eq!(spans.len() - unpaired.spans.len(), best.0, "each with one span");
            // Of all pairings with that many points, none serves more certain spans.
            let all_certain = spans.iter().filter(|span| span.is_certain).count();
            prop_assert_eq!(all_certain - certain(&unpaired.spans), best.1);
        }
    }

    /// The most points that can be paired, and the most certain spans among such pairings, by trying all.
    fn best(points: &[i64], spans: &[Span], at: usize, used: &mut Vec<bool>) -> (usize, usize) {
        let Some(point) = points.get(at) else { return (0, 0) };
        let mut found = best(points, spans, at + 1, used);
        for span in 0..spans.len() {
            if !used[span] && (spans[span].from_ms..=spans[span].to_ms).contains(point) {
                used[span] = true;
                let (count, certain) = best(points, spans, at + 1, used);
                used[span] = false;
                found = found.max((count + 1, certain + usize::from(spans[span].is_certain)));
            }
        }
        found
    }
}
